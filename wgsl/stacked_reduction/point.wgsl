// What u_0 determines: point[z] = eq_D(u_0, omega^z) for z < N = 2^l_skip (the Lagrange basis of the skip domain at u_0), then per kind k
//   point[N + 2 k]     = alpha_k = sum_j kind_weights[k][j] u_0^j      (the weight of eq(x, r))
//   point[N + 2 k + 1] = beta_k  = b_k sum_j u_0^j                      (the weight of eq(rot^-1(x), r)).
//
// One thread a z or a kind, at most 2 N products. Host reference: upstream's `eval_eq_uni` (`tests::polynomial_of_round_0_and_its_point`).
#import grid
#import transcript/tape

#interface

/// eq_D(x, y) for a y in the base field: 2^-l prod-recursion of upstream's `eval_eq_uni`.
fn eq_uni(x: Ext, y: u32) -> Ext {
    var result = E_ONE;
    var x_power = x;
    var y_power = y;
    for (var i = 0u; i < params.l_skip; i++) {
        let sum = e_add(x_power, e_from_base(y_power));
        let rest = e_scale(e_sub(x_power, E_ONE), f_sub(y_power, F_ONE));
        result = e_add(e_mul(sum, result), rest);
        x_power = e_square(x_power);
        y_power = f_square(y_power);
    }
    return vec4<u32>(
        f_div_2exp(result.x, params.l_skip),
        f_div_2exp(result.y, params.l_skip),
        f_div_2exp(result.z, params.l_skip),
        f_div_2exp(result.w, params.l_skip),
    );
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    let size = 1u << params.l_skip;
    let u_0 = tape_ext(params.u_word);
    if i < size {
        point[i] = eq_uni(u_0, skip_domain[size + i]);
    } else if i < size + params.kinds {
        let kind = i - size;
        let at = kind * (size + 1u);
        var alpha = E_ZERO;
        var ones = E_ZERO;
        for (var j = size; j > 0u; j--) {
            alpha = e_add(e_mul(alpha, u_0), kind_weights[at + j - 1u]);
            ones = e_add(e_mul(ones, u_0), E_ONE);
        }
        point[size + 2u * kind] = alpha;
        point[size + 2u * kind + 1u] = e_mul(kind_weights[at + size], ones);
    }
}
