// One round of the product sumcheck over the nodes: stacked cells folded down to one element per 2^(l_skip + level), with their weights.
//
// Per commitment the nodes of a level are, in this order: views that end here (already written by view_sums.wgsl), folds with u of the
// level before, and a zero where the count is odd. `plan` has per commitment: first node, end of the views, end of the folds, first node
// of the folds' sources. partials as in cube_round.wgsl, over pairs of the nodes below `paired`: all, or none on the last level, whose values are
// the stacking openings. Host reference: `tests::node_rounds`.
#import grid
#import stacked_reduction/product_round

#interface

/// The plan entry of the last commitment that begins at or before a node.
fn commit_of(node: u32) -> u32 {
    var commit = 0u;
    var end = params.commits;
    while end - commit > 1u {
        let middle = (commit + end) >> 1u;
        if plan[params.plan_at + 4u * middle] <= node {
            commit = middle;
        } else {
            end = middle;
        }
    }
    return params.plan_at + 4u * commit;
}

/// A node, made first unless it is a view.
fn element(node: u32, u: Ext) -> Element {
    let entry = commit_of(node);
    let views_end = plan[entry + 1u];
    if node < views_end {
        return Element(node_values[node], node_weights[node]);
    }
    var value = E_ZERO;
    var weight = E_ZERO;
    if node < plan[entry + 2u] {
        let source = plan[entry + 3u] + 2u * (node - views_end);
        value = e_fold(source_values[source], source_values[source + 1u], u);
        weight = e_fold(source_weights[source], source_weights[source + 1u], u);
    }
    node_values[node] = value;
    node_weights[node] = weight;
    return Element(value, weight);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    product_round(linear_workgroup(workgroup_id, num_workgroups), local, params.nodes, params.paired);
}
