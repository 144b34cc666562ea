// Constraint programs of many AIRs on the cosets of round 0: one workgroup for each item of a work list.
//
//   partials[slot][a * points + p] = sum over the item's rows e = x * points + p of eq[eq_at + x] * acc_a,
//
// with acc_a accumulator a of the item's chunk at row e of the AIR's tile; x a hypercube point, p a point of the cosets. Item `slot` of the
// list and its job: constraints/list.wgsl. An item begins at a row that is a multiple of points and of 4, and has at most 256 rows.
//
// tile: F, those of all AIRs, each as rap/tile_at.wgsl lays it out; weights, eq, partials: EF. `slot_len` elements of partials an item.
// Four rows a thread (base_values.wgsl); then a thread a point, points in strides, adds up what the others have.
// Host reference: constraints::host::Program::eval_row.
#interface
#import grid
#import constraints/list
#import constraints/base_values
#import constraints/interpreter

alias Tile = vec4<u32>;

const ITEM_VALUES: u32 = 256u;

/// Stores accumulator a of an item, of which this thread has rows 4 local .. 4 local + 4.
fn store(slot: u32, a: u32, local: u32, item: Item) {
    for (var k = 0u; k < 4u; k++) {
        let e = 4u * local + k;
        if e < item.count {
            item_values[e] = e_mul(eq[job.eq_at + (item.first + e) / job.points], row_sum(a, k));
        }
    }
    store_item(slot, a, local, item.count);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = params.first + linear_workgroup(workgroup_id, num_workgroups);
    let item = choose_item(slot);
    choose_quad(item.first / 4u + local, job.tile_at / 4u, job.stride);
    if 4u * local < item.count {
        evaluate(item.chunk);
    }
    store(slot, 0u, local, item);
    store(slot, 1u, local, item);
}
