// out[k] = b^k, k < len, b the challenge at word `challenge` of the transcript's tape. EF, one thread per power, square and multiply.
// Host reference: p3's powers.
#import grid
#import transcript/tape

struct Params {
    len: u32,
    challenge: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let k = linear_workgroup(workgroup_id, num_workgroups) * 64u + thread;
    if k >= params.len {
        return;
    }
    var result = E_ONE;
    var base = tape_ext(params.challenge);
    for (var e = k; e != 0u; e >>= 1u) {
        if (e & 1u) != 0u {
            result = e_mul(result, base);
        }
        base = e_square(base);
    }
    out[k] = result;
}
