// The coefficients of s_0: s_0[c] = sum over kinds k and i + j = c, i, j < N, of polynomials[k][i] kind_weights[k][j] + polynomials[k][N + i].
//
// (The second term is the product with b sum_j Z^j, the b being in the polynomial already.) One thread a
// coefficient of the 2 N - 1, kinds * N products at most. Host reference: `tests::polynomial_of_round_0_and_its_point`.
#import grid
#import field/ext

#interface

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let c = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    let size = 1u << params.l_skip;
    if c >= 2u * size - 1u {
        return;
    }
    var sum = E_ZERO;
    for (var k = 0u; k < params.kinds; k++) {
        let at = k * 2u * size;
        for (var i = c - min(c, size - 1u); i <= min(c, size - 1u); i++) {
            let product = e_mul(polynomials[at + i], kind_weights[k * (size + 1u) + c - i]);
            sum = e_add(sum, e_add(product, polynomials[at + size + i]));
        }
    }
    s_0[c] = sum;
}
