// out[v] = lambda^(2 v): the weight of view v's opening; that of its rotated opening is lambda times this.
//
// One thread a view, by squaring (at most 2 log2 v products). Host reference: `tests::powers_of_lambda_squared`.
#import grid
#import transcript/log

struct Params {
    lambda_word: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> transcript_log: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let view = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if view >= params.len {
        return;
    }
    var power = E_ONE;
    var base = e_square(log_ext(params.lambda_word));
    for (var k = view; k != 0u; k >>= 1u) {
        if (k & 1u) != 0u {
            power = e_mul(power, base);
        }
        base = e_square(base);
    }
    out[view] = power;
}
