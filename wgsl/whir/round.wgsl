// One round of WHIR's sumcheck: fold by the last challenge (from the second round on), then
//   s(1) = sum_j (c0 + c1) m1,   s(2) = sum_j (c0 + 2 c1) (3 m1 - m0)
// over the pairs c = (c[2j], c[2j + 1]), m likewise, where c are the coefficients of f and m the moments of the weight w,
// m[T] = sum_{x >= T} w(x). Folding by alpha: c0 + alpha c1 and (m0 - m1) + alpha (2 m1 - m0).
//
// source: c (2 pairs entries, 4 pairs with folding), then m. folded: the same after folding, not written without folding.
// partials: s(1) of every workgroup, then s(2), for wgsl/sum_rows.wgsl (with one workgroup: the sums themselves).
// One thread a pair.
// Host reference: upstream's prove_whir_opening on evaluations.
#import grid
#import reduce
#import transcript/tape

#interface

const THREADS: u32 = 128u;
/// Of s(1) and s(2).
const SUMS: u32 = 2u;
var<workgroup> sums: array<vec4<u32>, 256>;

fn fold_coefficients(at: u32, alpha: Ext) -> Ext {
    return e_add(source[at], e_mul(source[at + 1u], alpha));
}

fn fold_moments(at: u32, alpha: Ext) -> Ext {
    let m0 = source[at];
    let m1 = source[at + 1u];
    let difference = e_sub(m0, m1);
    return e_add(difference, e_mul(e_sub(m1, difference), alpha));
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = linear_workgroup(workgroup, workgroups);
    let j = group * THREADS + local;
    let len = 2u * params.pairs;
    var s_1 = E_ZERO;
    var s_2 = E_ZERO;
    if j < params.pairs {
        var c0: Ext;
        var c1: Ext;
        var m0: Ext;
        var m1: Ext;
        if params.folding != 0u {
            let alpha = tape_ext(params.alpha);
            c0 = fold_coefficients(4u * j, alpha);
            c1 = fold_coefficients(4u * j + 2u, alpha);
            m0 = fold_moments(2u * len + 4u * j, alpha);
            m1 = fold_moments(2u * len + 4u * j + 2u, alpha);
            folded[2u * j] = c0;
            folded[2u * j + 1u] = c1;
            folded[len + 2u * j] = m0;
            folded[len + 2u * j + 1u] = m1;
        } else {
            c0 = source[2u * j];
            c1 = source[2u * j + 1u];
            m0 = source[len + 2u * j];
            m1 = source[len + 2u * j + 1u];
        }
        let at_1 = e_add(c0, c1);
        s_1 = e_mul(at_1, m1);
        s_2 = e_mul(e_add(at_1, c1), e_add(m1, e_sub(e_double(m1), m0)));
    }
    sums[local] = s_1;
    sums[THREADS + local] = s_2;
    reduce(local, THREADS, 1u);
    if local == 0u && group < params.groups {
        partials[group] = sums[local];
        partials[params.groups + group] = sums[THREADS + local];
    }
}
