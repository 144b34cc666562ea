// weights[k] = eq_3b[i] * beta_powers[e] with (i, e) = entries[k]; with UNIT just beta_powers[e].
//
// EF; `len` weights in the layout of constraints::LogupWeights. One thread per weight.
// Host reference: constraints::testing::TestChallenges.
#import grid
#import field/ext

struct Params {
    len: u32,
    eq_offset: u32,
}

@group(0) @binding(0) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> beta_powers: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> eq_3b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let k = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if k >= params.len {
        return;
    }
    let entry = entries[k];
#if UNIT
    weights[k] = beta_powers[entry.y];
#else
    weights[k] = e_mul(eq_3b[params.eq_offset + entry.x], beta_powers[entry.y]);
#endif
}
