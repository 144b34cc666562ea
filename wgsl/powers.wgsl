// out[i] = x^i for i < len, x = the extension element at word `word` of the transcript tape.
//
// One thread a power, by squaring: at most 2 log2(len) products, and no thread waits for another.
// Host reference: p3's Powers.
#import grid
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 64u + local;
    if i >= params.len {
        return;
    }
    var result = E_ONE;
    var square = tape_ext(params.word);
    for (var e = i; e != 0u; e >>= 1u) {
        if (e & 1u) != 0u {
            result = e_mul(result, square);
        }
        square = e_square(square);
    }
    out[i] = result;
}
