// Constraint programs of many AIRs in an MLE round: one workgroup for each item of a work list.
//
//   partials[slot][a * points + X - 1] = sum over the item's lines y of eq[eq_at + y] * acc_a,   X in 1..=points,
//
// with acc_a accumulator a of the item's chunk on the values t(X, y) = t_0 + (t_1 - t_0) X of every column, t_0, t_1 rows 2 y and 2 y + 1 of
// the AIR's tile; where the tile has one row, that row. Item `slot` of the list and its job: constraints/list.wgsl.
//
// tile: EF, those of all AIRs, column-major each; weights, eq, partials: EF. `slot_len` elements of partials an item. points <= 64.
// Thread: line y and point X, lines in strides of 64 / points; then a thread a point adds up what the others have.
// Host reference: constraints::host::Program::eval_row.
#interface
#import grid
#import constraints/list
#import constraints/line_values
#import constraints/interpreter

const ITEM_VALUES: u32 = THREADS;

fn column(c: u32) -> Value {
    return value_on_line(job.tile_at + c * job.stride + row, job.points, job_is(JOB_LAST));
}

/// Stores accumulator a of an item of `lines` lines at most, of which this thread has `value`.
fn store(slot: u32, a: u32, local: u32, lines: u32, value: Ext) {
    item_values[local] = value;
    store_item(slot, a, local, lines * job.points);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = params.first + linear_workgroup(workgroup_id, num_workgroups);
    let item = choose_item(slot);
    let points = job.points;
    let lines = THREADS / points;
    let y = local / points;
    point = local - y * points + 1u;
    var sum0 = E_ZERO;
    var sum1 = E_ZERO;
    for (var k = y; k < item.count && y < lines; k += lines) {
        row = 2u * (item.first + k);
        acc0 = E_ZERO;
        acc1 = E_ZERO;
        evaluate(item.chunk);
        let weight = eq[job.eq_at + item.first + k];
        sum0 = e_add(sum0, e_mul(weight, acc0));
        if job_is(JOB_TWO) {
            sum1 = e_add(sum1, e_mul(weight, acc1));
        }
    }
    let used = min(lines, item.count);
    store(slot, 0u, local, used, sum0);
    store(slot, 1u, local, used, sum1);
}
