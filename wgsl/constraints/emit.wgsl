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

struct Params {
    columns: u32,
    evaluations: u32,
    chunk: u32,
    first_workgroup: u32,
    alpha: u32,
    first_row: u32,
    height: u32,
    lift: u32,
    norm: u32,
    window_start: u32,
    window_len: u32,
}

#if INTERPRETED
@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
#else
@group(0) @binding(0) var<storage, read> tile: array<u32>;
#endif
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> numerators: array<u32>;
@group(0) @binding(5) var<storage, read_write> denominators: array<vec4<u32>>;
var<immediate> params: Params;

#if INTERPRETED
#import constraints/base_values
#else
#import constraints/scalar_values
#endif

fn write_fraction(row: u32, offset: u32, numerator: u32, message: Ext) {
    if row >= params.evaluations {
        return;
    }
    let denominator = e_add(weights[params.alpha], message);
    for (var copy = 0u; copy < params.lift; copy++) {
        let at = offset + copy * params.height + params.first_row + row - params.window_start;
        if at < params.window_len {
            numerators[at] = numerator;
            denominators[at] = denominator;
        }
    }
}

#if INTERPRETED
fn emit(output: u32, numerator: Value) {
    let scaled = v_scale(numerator, params.norm);
    let offset = offsets[output];
    write_fraction(4u * quad, offset, scaled.x, sum1(0u));
    write_fraction(4u * quad + 1u, offset, scaled.y, sum1(1u));
    write_fraction(4u * quad + 2u, offset, scaled.z, sum1(2u));
    write_fraction(4u * quad + 3u, offset, scaled.w, sum1(3u));
    acc1 = array<Value, 4>();
}

@group(0) @binding(6) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read_write> spill: array<vec4<u32>>;
#import constraints/interpreter

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, local);
    if choose_rows(params.first_workgroup + workgroup, local) {
        evaluate(params.chunk + workgroup_id.z);
    }
}
#else
/// The row of this thread.
var<private> row: u32;

fn emit(output: u32, numerator: Value) {
    write_fraction(row, offsets[output], v_scale(numerator, params.norm), sum1());
    clear1();
}

// GENERATED

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
