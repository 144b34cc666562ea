// ntt/chunk.wgsl for chunks of sixteen that lie together in the trace: c[k] = sum_{j subset of k} iDFT(chunk)[j].
//
// One thread a chunk, in registers: four vectors of four consecutive words. Vectors from `filled` on are zero. Bytes moved: 8 a word.
// Host reference: openvm_stark_backend::prover::poly::eval_to_coeff_rs_message.
#import grid
#import ntt/block

struct Params {
    source: u32,
    target_offset: u32,
    filled: u32,
    chunks: u32,
}

@group(0) @binding(0) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> data: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = 4u * (linear_workgroup(workgroup_id, num_workgroups) * 256u + thread);
    if i >= 4u * params.chunks {
        return;
    }
    var x: Block;
    if i < params.filled {
        let at = params.source + i;
        x = Block(src[at], src[at + 1u], src[at + 2u], src[at + 3u]);
        x = block_zeta(block_div_2exp(dft16(x), 4u), 4u);
    }
    let at = params.target_offset + i;
    data[at] = x.a;
    data[at + 1u] = x.b;
    data[at + 2u] = x.c;
    data[at + 3u] = x.d;
}
