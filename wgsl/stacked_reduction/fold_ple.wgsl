// folded[out_at + x] = sum_z point[z] combined[x 2^l_skip + z]: the combined vector at u_0 in its univariate variable.
//
// A workgroup takes 256 elements of the combined piece, or 2^l_skip where that is more; the 2^l_skip products of an x meet in workgroup
// memory. One pass, 16 bytes an element.
// Host reference: interpolation by `eval_eq_uni` (`tests::polynomial_of_round_0_and_its_point`).
#import grid
#import field/ext
#import reduce

#interface

const THREADS: u32 = 256u;
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let size = 1u << params.l_skip;
    let span = max(size, THREADS);
    let first = linear_workgroup(workgroup_id, num_workgroups) * span;
    var term = E_ZERO;
    for (var row = first + local; row < min(first + span, params.rows); row += THREADS) {
        term = e_add(term, e_mul(combined[row], point[row & (size - 1u)]));
    }
    sums[local] = term;
    let team = min(size, THREADS);
    reduce(local, team, 1u);
    if (local & (team - 1u)) == 0u && first + local < params.rows {
        folded[params.out_at + ((first + local) >> params.l_skip)] = sums[local];
    }
}
