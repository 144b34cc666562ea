// Rows of a WHIR round's table for the queried points z = omega^e, omega of order 2^log_domain the generator of the domain on which
// f's codeword is: for point p and b < 2^k
//   c[p][b] = f_b(z^(2^k)) where f(X) = sum_b X^b f_b(X^(2^k)),   m[p][b] = C_p z^b.
// The codeword holds f at all z zeta^j, zeta of order 2^k, so no pass over f is needed:
//   c[p][b] = z^-b 2^-k sum_{j < 2^k} zeta^(-j b) f(z zeta^j).
//
// The first `last_points` points come from the last round: e = last_exponents * 2^(k - 1) in the new domain (half as large, z to the
// 2^k-th), C as the last table says. The others are the new queries: e = 2^(k - 1) index, index = the low bits of the sampled word,
// C = gamma^(2 + query).
// codeword: natural order. table: `entries` of c, then of m; this writes rows `first_row..`. One thread an entry, 2^k gathered elements.
// Host reference: the formula, f_b evaluated from f's coefficients.
#import grid
#import whir/weight

#interface

/// omega^e for any e modulo 2^32, a multiple of omega's order.
fn omega_power(e: u32) -> u32 {
    return f_pow(params.omega, e & ((1u << params.log_domain) - 1u));
}

fn exponent(p: u32) -> u32 {
    if p < params.last_points {
        return (last_exponents[p] << (params.k - 1u)) & ((1u << params.log_domain) - 1u);
    }
    return tape_bits(params.queries + p - params.last_points, params.query_bits) << (params.k - 1u);
}

fn coefficient(p: u32) -> Ext {
    if p < params.last_points {
        return term_coefficient(params.last_rows, params.last_first_row + p, params.last_alpha);
    }
    return gammas[2u + p - params.last_points];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 64u + local;
    if i >= (params.points << params.k) {
        return;
    }
    let p = i >> params.k;
    let b = i & ((1u << params.k) - 1u);
    let e = exponent(p);
    let stride = 1u << (params.log_domain - params.k);
    let mask = (1u << params.log_domain) - 1u;
    let zeta = omega_power(0u - b * stride);
    var sum = codeword[e];
    var twiddle = zeta;
    for (var j = 1u; j < (1u << params.k); j++) {
        sum = e_add(sum, e_scale(codeword[(e + j * stride) & mask], twiddle));
        twiddle = f_mul(twiddle, zeta);
    }
    let at = (params.first_row << params.k) + i;
    table[at] = e_scale(sum, f_div_2exp(omega_power(0u - e * b), params.k));
    table[params.entries + at] = e_scale(coefficient(p), omega_power(e * b));
    if b == 0u {
        exponents[p] = e;
    }
}
