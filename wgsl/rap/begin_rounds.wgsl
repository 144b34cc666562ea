// The state before the MLE rounds (layout: wgsl/rap/batch_round.wgsl):
//
//   eq = eq_D(xi[0], r_0),   eq_sharp = sum_i lagrange[i] * eq(xi[..l_skip], bits of i),   tail = 0,   claim = s_0(r_0),
//
// r_0 the challenge at word `challenge` of the transcript's tape, s_0 given by its `len` coefficients, lagrange the Lagrange basis of D
// at r_0. EF; one workgroup of 64 threads, terms in strides.
// Host reference: upstream's eval_eq_uni, eval_eq_sharp_uni, horner_eval.
#import rap/eq_uni
#import rap/round_sum
#import transcript/tape

#interface

fn power(base: Ext, exponent: u32) -> Ext {
    var result = E_ONE;
    var b = base;
    for (var e = exponent; e != 0u; e >>= 1u) {
        if (e & 1u) != 0u {
            result = e_mul(result, b);
        }
        b = e_square(b);
    }
    return result;
}

/// eq(xi[..l_skip], bits of i).
fn eq_cube(i: u32) -> Ext {
    var product = E_ONE;
    for (var k = 0u; k < params.l_skip; k++) {
        let x = xi[k];
        product = e_mul(product, select(e_sub(E_ONE, x), x, vec4<bool>(((i >> k) & 1u) != 0u)));
    }
    return product;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    let r_0 = tape_ext(params.challenge);
    var sharp = E_ZERO;
    for (var i = local; i < (1u << params.l_skip); i += 64u) {
        sharp = e_add(sharp, e_mul(lagrange[i], eq_cube(i)));
    }
    // Horner over this thread's coefficients t, t + 64, ..
    var claim = E_ZERO;
    let r_64 = power(r_0, 64u);
    for (var k = (params.len + 63u) / 64u; k > 0u; k--) {
        let j = (k - 1u) * 64u + local;
        claim = e_mul(claim, r_64);
        if j < params.len {
            claim = e_add(claim, s_0[j]);
        }
    }
    claim = e_mul(claim, power(r_0, local));
    let eq_sharp = sum_over_threads(sharp, local);
    let total = sum_over_threads(claim, local);
    if local == 0u {
        state[0] = eq_uni(params.l_skip, xi[0], r_0);
        state[1] = eq_sharp;
        state[2] = E_ZERO;
        state[3] = total;
    }
}
