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

fn write_fraction(row: u32, offset: u32, numerator: u32, message: Ext) {
    if row >= trace.x {
        return;
    }
    let denominator = e_add(logup[params.alpha], message);
    for (var copy = 0u; copy < trace.y; copy++) {
        let at = offset + copy * trace.x + row - params.window_start;
        if at < params.window_len {
            numerators[at] = numerator;
            denominators[at] = denominator;
        }
    }
}

fn emit(output: u32, numerator: Value) {
    let scaled = v_scale(numerator, trace.z);
    let offset = offsets[job.eq_at + output];
    write_fraction(4u * quad, offset, scaled.x, sum1(0u));
    write_fraction(4u * quad + 1u, offset, scaled.y, sum1(1u));
    write_fraction(4u * quad + 2u, offset, scaled.z, sum1(2u));
    write_fraction(4u * quad + 3u, offset, scaled.w, sum1(3u));
    acc1 = array<Value, 4>();
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
