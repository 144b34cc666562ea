// Per kind of view (height below 2^l_skip or not, rotated or not): the sum of its records as polynomials, and its weight polynomial.
//
// With A(z) and G(z) the sums of the kind's records on the (strided) skip domain, N = 2^l_skip:
//   polynomials[k][j]     = coefficient j of A(Z)
//   polynomials[k][N + j] = b times coefficient j of G(Z)
//   kind_weights[k][j]    = eq_weight[j] + lambda rot_weight[j],   kind_weights[k][N] = b = lambda * rot_constant
// The weights come from the host: `constants` holds per kind N eq weights, N rot weights and the rot constant. A kind of height
// 2^log_z < N has values on every 2^(l_skip - log_z)-th point of the domain and zero between.
// One workgroup a kind, N <= 512: sums the records (threads spread over them where the values are fewer than 256, else over the values),
// then a plain inverse DFT, N terms a coefficient, 2 N / 256 coefficients a thread.
// Host reference: `tests::polynomial_of_round_0_and_its_point`.
#import grid
#import reduce
#import transcript/tape

#interface

// omega^-k / N for k < N, then omega^k

const THREADS: u32 = 256u;
const SUMS: u32 = 1u;
// share s of the sum of value v at v + s 2^(log_z + 1)
var<workgroup> sums: array<vec4<u32>, 1024>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let kind = linear_workgroup(workgroup_id, num_workgroups);
    let size = 1u << params.l_skip;
    let first = plan[params.plan_at + 3u * kind];
    let count = plan[params.plan_at + 3u * kind + 1u];
    let log_z = plan[params.plan_at + 3u * kind + 2u];
    let values = 2u << log_z;
    let shares = max(THREADS / values, 1u);
    for (var v = local; v < shares * values; v += THREADS) {
        let value = v & (values - 1u);
        let place = (value >> log_z) * size + (value & ((1u << log_z) - 1u));
        var sum = E_ZERO;
        for (var i = v / values; i < count; i += shares) {
            sum = e_add(sum, records[(first + i) * 2u * size + place]);
        }
        sums[v] = sum;
    }
    reduce(local, THREADS, values);
    let lambda = tape_ext(params.lambda_word);
    let constant = kind * (2u * size + 1u);
    let b = e_mul(lambda, constants[constant + 2u * size]);
    for (var c = local; c < 2u * size; c += THREADS) {
        let j = c & (size - 1u);
        let rotated = c >> params.l_skip;
        var coefficient = E_ZERO;
        for (var i = 0u; i < (1u << log_z); i++) {
            let turn = ((j * i) << (params.l_skip - log_z)) & (size - 1u);
            coefficient = e_add(coefficient, e_scale(sums[(rotated << log_z) + i], skip_domain[turn]));
        }
        if rotated != 0u {
            coefficient = e_mul(coefficient, b);
        } else {
            let weight = e_add(constants[constant + j], e_mul(lambda, constants[constant + size + j]));
            kind_weights[kind * (size + 1u) + j] = weight;
        }
        polynomials[kind * 2u * size + c] = coefficient;
    }
    if local == 0u {
        kind_weights[kind * (size + 1u) + size] = b;
    }
}
