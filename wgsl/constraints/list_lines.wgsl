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
#import grid
#import constraints/list

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read> lambda: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> logup: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> eq: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> list: array<vec4<u32>>;
var<immediate> params: Params;

alias Value = Ext;

/// Row of t_0.
var<private> row: u32;
/// X.
var<private> point: u32;

var<private> acc0: Ext;
var<private> acc1: Ext;

fn column(c: u32) -> Value {
    let at = job.tile_at + c * job.stride + row;
    let t_0 = tile[at];
    if job_is(JOB_LAST) {
        return t_0;
    }
    let t_1 = tile[at + 1u];
    let slope = e_sub(t_1, t_0);
    if job_points() > 3u {
        return e_add(t_0, e_scale(slope, f_from_u32(point)));
    }
    // t_1 + (X - 1) slope: additions are cheaper than four products
    let at_2 = e_add(t_1, select(E_ZERO, slope, point >= 2u));
    return e_add(at_2, select(E_ZERO, slope, point == 3u));
}

fn lift(word: u32) -> Value {
    return e_from_base(word);
}

fn v_add(a: Value, b: Value) -> Value {
    return e_add(a, b);
}

fn v_sub(a: Value, b: Value) -> Value {
    return e_sub(a, b);
}

fn v_neg(a: Value) -> Value {
    return e_neg(a);
}

fn v_mul(a: Value, b: Value) -> Value {
    return e_mul(a, b);
}

fn v_scale(a: Value, word: u32) -> Value {
    return e_scale(a, word);
}

fn accumulate(acc: u32, k: u32, a: Value) {
    let term = e_mul(weight(k), a);
    if acc == 0u {
        acc0 = e_add(acc0, term);
    } else {
        acc1 = e_add(acc1, term);
    }
}

#import constraints/interpreter

const THREADS: u32 = 64u;
var<workgroup> shared_sums: array<vec4<u32>, THREADS>;

/// Adds what the threads of each point have in `value`, of `lines` lines at most, and stores it as accumulator a if the program has it.
fn store(slot: u32, a: u32, local: u32, lines: u32, value: Ext) {
    let points = job_points();
    workgroupBarrier();
    shared_sums[local] = value;
    workgroupBarrier();
    if local < points && has_accumulator(a) {
        var sum = value;
        for (var y = 1u; y < lines; y++) {
            sum = e_add(sum, shared_sums[y * points + local]);
        }
        partials[slot * params.slot_len + a * points + local] = sum;
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = params.first + linear_workgroup(workgroup_id, num_workgroups);
    let item = choose_item(slot);
    let points = job_points();
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
