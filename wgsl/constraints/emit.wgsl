// Interactions of an AIR on its trace: the first layer of the fraction tree.
//
//   numerators[j] = norm * count_i(r),   denominators[j] = alpha + sum_k beta^k m_{i,k}(r) + beta^len_i (b_i + 1)
//
// at j = offsets[i] + copy * height + r for each interaction i, trace row r = first_row + tile row, and copy < lift: a trace lower
// than 2^l_skip is repeated `lift` times with norm = 1 / lift. Only positions within window_start + [0, window_len) are written
// (the layer comes in pieces): window_start is the position of the buffers' first element.
//
// tile: F, `columns` columns as rap/tile_at.wgsl lays them out; numerators: F; weights, denominators: EF; weights[alpha] is alpha.
// INTERPRETED runs encoded records, four rows a thread (base_values.wgsl); without, `evaluate` is the generated text of one chunk, for
// one row a thread (scalar_values.wgsl). Workgroup: 256 rows of one chunk; z: chunks from `chunk` on; x, y: workgroups from
// `first_workgroup` on.
// Host reference: constraints::host::Program::eval_row.
#import grid

#interface

#if INTERPRETED
alias Tile = vec4<u32>;
#import constraints/base_values
#else
alias Tile = u32;
#import constraints/scalar_values
#endif
#import constraints/one
#import constraints/fractions

fn tile_rows() -> TileRows {
    return TileRows(params.evaluations, params.first_row, params.height, params.lift, weights[params.alpha]);
}

#if INTERPRETED
fn emit(output: u32, numerator: Value) {
    write_quad(tile_rows(), offsets[output], v_scale(numerator, params.norm));
}

#import constraints/interpreter

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, local);
    choose_quad((params.first_workgroup + workgroup) * 64u + local, 0u, params.columns);
    if 4u * quad < params.evaluations {
        evaluate(params.chunk + workgroup_id.z);
    }
}
#else
/// The row of this thread.
var<private> row: u32;

fn emit(output: u32, numerator: Value) {
    write_fraction(tile_rows(), row, offsets[output], v_scale(numerator, params.norm), sum1());
    clear1();
}

#generated

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    row = (params.first_workgroup + linear_workgroup(workgroup_id, num_workgroups)) * ROWS + local;
    if row < params.evaluations {
        choose_row(row);
        evaluate(0u);
    }
}
#endif
