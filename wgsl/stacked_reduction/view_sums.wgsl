// For the views that are fully folded at this level: node_values[node] = sum of the view's partials, node_weights[node] = lambda^(2 view)
// K_g, where K_g is the group's weight, folded to one element.
//
// Views come in runs (first slot, first node, first view, place of K_g); a run's views have consecutive slots, nodes and numbers. 2^team_bits
// threads add the 2^log_blocks partials of a view. Host reference: `tests::openings_of_columns`.
#import grid
#import field/ext
#import reduce

#interface

const THREADS: u32 = 64u;
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = linear_workgroup(workgroup_id, num_workgroups);
    let member = local & ((1u << params.team_bits) - 1u);
    let slot = (group * THREADS + local) >> params.team_bits;
    var sum = E_ZERO;
    if slot < params.slots {
        for (var b = member; b < (1u << params.log_blocks); b += 1u << params.team_bits) {
            sum = e_add(sum, partials[(slot << params.log_blocks) + b]);
        }
    }
    sums[local] = sum;
    reduce(local, 1u << params.team_bits, 1u);
    if slot >= params.slots || member != 0u {
        return;
    }
    var run = 0u;
    var end = params.runs;
    while end - run > 1u {
        let middle = (run + end) >> 1u;
        if plan[params.plan_at + 4u * middle] <= slot {
            run = middle;
        } else {
            end = middle;
        }
    }
    let entry = params.plan_at + 4u * run;
    let k = slot - plan[entry];
    let node = plan[entry + 1u] + k;
    node_values[node] = sums[local];
    node_weights[node] = e_mul(lambda_powers[2u * (plan[entry + 2u] + k)], weights[plan[entry + 3u]]);
}
