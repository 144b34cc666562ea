// Denominators of padding: padding[k] = alpha^(2^k), that of a node k levels above leaves which are all 0 / alpha.
//
// One thread an entry, k products. Host reference: exp_power_of_2.
#import transcript/tape

struct Params {
    len: u32,
    alpha_at: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read_write> padding: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    if local < params.len {
        var q = tape_ext(params.alpha_at);
        for (var k = 0u; k < local; k++) {
            q = e_square(q);
        }
        padding[local] = q;
    }
}
