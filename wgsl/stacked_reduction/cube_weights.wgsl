// weights[at_g + x] = alpha eq(x, r[1..1+n_g]) + beta eq(rot^-1(x), r[1..1+n_g]) for all groups g, concatenated; alpha and beta are those
// of the group's kind (point.wgsl), rot^-1(x) = x - 1 mod 2^n_g.
//
// One thread an element, which finds its group by bisection; at most 4 products. Host reference: `tests::weights_of_cubes`.
#import grid
#import stacked_reduction/eq_cube

#interface

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    if i >= params.len {
        return;
    }
    var group = 0u;
    var end = params.groups;
    while end - group > 1u {
        let middle = (group + end) >> 1u;
        if plan[params.plan_at + 3u * middle] <= i {
            group = middle;
        } else {
            end = middle;
        }
    }
    let entry = params.plan_at + 3u * group;
    let x = i - plan[entry];
    let n = plan[entry + 1u];
    let kind = (1u << params.l_skip) + 2u * plan[entry + 2u];
    let before = (x - 1u) & ((1u << n) - 1u);
    let eq = e_mul(point[kind], eq_cube(n, x, params.low_bits));
    weights[i] = e_add(eq, e_mul(point[kind + 1u], eq_cube(n, before, params.low_bits)));
}
