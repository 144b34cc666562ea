// folded[out_at + x] = sum_z point[z] combined[x 2^l_skip + z]: the combined vector at u_0 in its univariate variable.
//
// A workgroup takes 256 elements of the combined piece, or 2^l_skip where that is more; the 2^l_skip products of an x meet in workgroup
// memory. One pass, 16 bytes an element.
// Host reference: interpolation by `eval_eq_uni` (`tests::polynomial_of_round_0_and_its_point`).
#import grid
#import field/ext

struct Params {
    rows: u32,
    l_skip: u32,
    out_at: u32,
}

@group(0) @binding(0) var<storage, read> combined: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> point: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> folded: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> terms: array<vec4<u32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let size = 1u << params.l_skip;
    let span = max(size, 256u);
    let first = linear_workgroup(workgroup_id, num_workgroups) * span;
    var term = E_ZERO;
    for (var row = first + local; row < min(first + span, params.rows); row += 256u) {
        term = e_add(term, e_mul(combined[row], point[row & (size - 1u)]));
    }
    terms[local] = term;
    let lanes = min(size, 256u);
    let lane = local & (lanes - 1u);
    workgroupBarrier();
    for (var s = lanes >> 1u; s > 0u; s >>= 1u) {
        if lane < s {
            terms[local] = e_add(terms[local], terms[local + s]);
        }
        workgroupBarrier();
    }
    if lane == 0u && first + local < params.rows {
        folded[params.out_at + ((first + local) >> params.l_skip)] = terms[local];
    }
}
