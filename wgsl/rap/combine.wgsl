// out[j] = sum_i weights[i] * polys[i * len + j], i < count, j < len: the random linear combination of polynomials.
//
// EF, one thread per coefficient, reads coalesced. Host reference: the formula (kernels::rap::rounds::tests).
#import grid
#import field/ext

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let j = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if j >= params.len {
        return;
    }
    var sum = E_ZERO;
    for (var i = 0u; i < params.count; i++) {
        sum = e_add(sum, e_mul(weights[i], polys[i * params.len + j]));
    }
    out[j] = sum;
}
