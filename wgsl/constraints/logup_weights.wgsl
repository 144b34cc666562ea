// weights[k] = eq_3b[i] * beta_powers[e] with (i, e) = entries[k]; with UNIT just beta_powers[e].
//
// EF; `len` weights in the layout of constraints::LogupWeights. One thread per weight.
// Host reference: constraints::testing::TestChallenges.
#import grid
#import field/ext

#interface

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
