// Rows of a WHIR round's table for the terms whose inner products with f were computed (wgsl/whir/dots.wgsl): for term t and b < 2^k
//   c[t][b] = dots[t][b],   m[t][b] = C_t prod_{i < k} (bit i of b ? x : a), x = coordinates[t][first_variable + i],
// with a = 1 - x for term 0, eq(u, .), and 1 for the others, the out-of-domain points pow(z_0). C_t: 1 in the first round, then gamma for
// the last term, which is new, and for the others what the last round's table says.
//
// coordinates: rows of `stride`. table: `entries` of c, then of m; these are the first rows * 2^k of each. One thread an entry.
// Host reference: the formula.
#import grid
#import whir/weight

#interface

fn coefficient(t: u32) -> Ext {
    if params.initial != 0u {
        return E_ONE;
    }
    if t + 1u == params.rows {
        return tape_ext(params.gamma);
    }
    return term_coefficient(params.last_rows, t, params.last_alpha);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 64u + local;
    if i >= (params.rows << params.k) {
        return;
    }
    let t = i >> params.k;
    var moment = coefficient(t);
    for (var bit = 0u; bit < params.k; bit++) {
        let x = coordinates[t * params.stride + params.first_variable + bit];
        if ((i >> bit) & 1u) != 0u {
            moment = e_mul(moment, x);
        } else if t == 0u {
            moment = e_mul(moment, e_sub(E_ONE, x));
        }
    }
    table[i] = dots[i];
    table[params.entries + i] = moment;
}
