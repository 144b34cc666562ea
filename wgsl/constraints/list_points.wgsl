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

#import constraints/base_values
#import constraints/interpreter

const THREADS: u32 = 64u;
var<workgroup> shared_sums: array<vec4<u32>, 256>;

/// Accumulator a for rows 4 thread .. 4 thread + 4 of the item, weighed; adds the rows of each point and stores the sums if the program
/// has it (a slot has room for no other).
fn store(slot: u32, a: u32, local: u32, item: Item) {
    let points = job_points();
    workgroupBarrier();
    for (var k = 0u; k < 4u; k++) {
        var value = E_ZERO;
        let e = 4u * local + k;
        if e < item.count {
            value = e_mul(eq[job.eq_at + (item.first + e) / points], row_sum(a, k));
        }
        shared_sums[e] = value;
    }
    workgroupBarrier();
    if has_accumulator(a) {
        for (var p = local; p < points; p += THREADS) {
            var sum = E_ZERO;
            for (var e = p; e < item.count; e += points) {
                sum = e_add(sum, shared_sums[e]);
            }
            partials[slot * params.slot_len + a * points + p] = sum;
        }
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
    let first = item.first / 4u + local;
    if 4u * local < item.count {
        quad_at = job.tile_at / 4u + (first >> 4u) * job.stride * 16u + (first & 15u);
        evaluate(item.chunk);
    }
    store(slot, 0u, local, item);
    store(slot, 1u, local, item);
}
