// Sums over subsets of index bits, in place: data[i] += data[i without the bit], for the bits of one tile (`subtract`: the inverse).
// Over all bits this takes the coefficients of a multilinear polynomial to its evaluations on the hypercube.
//
// A workgroup of 256 threads takes 4,096 words in workgroup memory: the low `contiguous` bits of a word's place in the tile are the low
// bits of its address, the others are address bits from `high_bit` on. Of these 12 bits, those in first..first + count are summed over,
// up to four at a time in registers. Bytes moved: 8 a word and pass. Host reference: Mle::coeffs_to_evals_inplace.
#import grid
#import ntt/tile

struct Params {
    words: u32,
    contiguous: u32,
    high_bit: u32,
    first: u32,
    count: u32,
    subtract: u32,
}

@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<storage, read> roots: array<u32>;
var<immediate> params: Params;

/// Address of word i of the tile: the workgroup's number fills the address bits that the tile leaves.
fn address(workgroup: u32, i: u32) -> u32 {
    let low = i & ((1u << params.contiguous) - 1u);
    let between = params.high_bit - params.contiguous;
    let middle = workgroup & ((1u << between) - 1u);
    let rows = i >> params.contiguous;
    let above = workgroup >> between;
    return low | (middle << params.contiguous) | (rows << params.high_bit) | (above << (params.high_bit + 12u - params.contiguous));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    for (var k = 0u; k < 4096u; k += 256u) {
        let i = address(workgroup, k + thread);
        var x = 0u;
        if i < params.words {
            x = data[i];
        }
        tile[padded(k + thread)] = x;
    }
    let end = params.first + params.count;
    for (var bit = params.first; bit < end; bit += 4u) {
        workgroupBarrier();
        let log_radix = min(end - bit, 4u);
        let base = digit_base(thread, bit, log_radix);
        let slots = digit_slots(bit, log_radix);
        put_block(base, slots, block_zeta(get_block(base, slots), log_radix, params.subtract != 0u));
    }
    workgroupBarrier();
    for (var j = 0u; j < 4096u; j += 256u) {
        let i = address(workgroup, j + thread);
        if i < params.words {
            data[i] = tile[padded(j + thread)];
        }
    }
}
