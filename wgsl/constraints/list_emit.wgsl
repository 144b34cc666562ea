// Interactions of many AIRs on their traces, for the first layer of the fraction tree: one workgroup for each item of a work list.
//
//   numerators[j] = norm * count_i(r),   denominators[j] = alpha + sum_k beta^k m_{i,k}(r) + beta^len_i (b_i + 1)
//
// at j = offsets[offsets_at + i] + copy * height + r for each interaction i of the item's chunk, row r of its AIR's trace, copy < lift, as in
// constraints/emit.wgsl. Item and job: constraints/list.wgsl; `eq_at` of a job is its offsets_at, and a third vector has height, lift and
// norm. An item begins at a multiple of 256 rows and has at most so many. logup[alpha] is alpha.
//
// tile: F, whole traces of all AIRs, each as rap/tile_at.wgsl lays it out; numerators: F; logup, denominators: EF. Four rows a thread
// (base_values.wgsl).
// Host reference: constraints::host::Program::eval_row.
#interface
#import grid
#import constraints/list
#import constraints/base_values

alias Tile = vec4<u32>;

fn emit(output: u32, numerator: Value) {
    let rows = TileRows(trace.x, 0u, trace.x, trace.y, logup[params.alpha]);
    write_quad(rows, offsets[job.eq_at + output], v_scale(numerator, trace.z));
}

#import constraints/interpreter

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let item = choose_item(params.first + linear_workgroup(workgroup_id, num_workgroups));
    if 4u * local < item.count {
        choose_quad(item.first / 4u + local, job.tile_at / 4u, job.stride);
        evaluate(item.chunk);
    }
}
