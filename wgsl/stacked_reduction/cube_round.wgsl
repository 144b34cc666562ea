// One round of the product sumcheck over the combined vectors F and their weights K, all groups concatenated, tallest first:
//   F' = fold of F with u, K' = fold of K with u (only with `fold`; else F' = F, K' = K and nothing is written),
//   partials = sums over the pairs below `paired` of F'(1) K'(1) and of F'(2) K'(2) (product_round.wgsl).
//
// Elements from `paired` on belong to groups that have no variable left: they are folded but not summed. Reads 128 bytes and writes 64 per
// pair, 8 products.
// Host reference: `tests::cube_rounds`.
#import grid
#import stacked_reduction/product_round

#interface

/// Element i of F' and K'.
fn element(i: u32, u: Ext) -> Element {
    if params.fold == 0u {
        return Element(values[i], weights[i]);
    }
    let value = e_fold(values[2u * i], values[2u * i + 1u], u);
    let weight = e_fold(weights[2u * i], weights[2u * i + 1u], u);
    next_values[i] = value;
    next_weights[i] = weight;
    return Element(value, weight);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    product_round(linear_workgroup(workgroup_id, num_workgroups), local, params.len, params.paired);
}
