// Interactions of an AIR on its trace: the first layer of the fraction tree.
//
//   numerators[j] = norm * count_i(r),   denominators[j] = alpha + sum_k beta^k m_{i,k}(r) + beta^len_i (b_i + 1)
//
// at j = offsets[i] + copy * height + r for each interaction i, trace row r = first_row + tile row, and copy < lift: a trace lower
// than 2^l_skip is repeated `lift` times with norm = 1 / lift. Only positions within window_start + [0, window_len) are written
// (the layer comes in pieces): window_start is the position of the buffers' first element.
//
// tile: F, column-major, `stride` words (a multiple of 4) a column; weights, numerators, denominators: EF; weights[alpha] is alpha.
// Thread: four rows (base_values.wgsl). Workgroup: 256 rows of one chunk; z: chunks from `chunk` on; x, y: workgroups from
// `first_workgroup` on.
// INTERPRETED runs encoded records; without, `evaluate` is the generated text of one chunk.
// Host reference: constraints::host::Program::eval_row.
#import grid
#import constraints/base_values

struct Params {
    stride: u32,
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

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> numerators: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> denominators: array<vec4<u32>>;
var<immediate> params: Params;

fn write_fraction(k: u32, offset: u32, numerator: u32) {
    let row = 4u * quad + k;
    if row >= params.evaluations {
        return;
    }
    let denominator = e_add(weights[params.alpha], sum1(k));
    for (var copy = 0u; copy < params.lift; copy++) {
        let at = offset + copy * params.height + params.first_row + row - params.window_start;
        if at < params.window_len {
            numerators[at] = e_from_base(numerator);
            denominators[at] = denominator;
        }
    }
}

fn emit(output: u32, numerator: Value) {
    let scaled = v_scale(numerator, params.norm);
    let offset = offsets[output];
    write_fraction(0u, offset, scaled.x);
    write_fraction(1u, offset, scaled.y);
    write_fraction(2u, offset, scaled.z);
    write_fraction(3u, offset, scaled.w);
    acc1 = array<Value, 4>();
}

#if INTERPRETED
@group(0) @binding(6) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read_write> spill: array<vec4<u32>>;
#import constraints/interpreter
#else
// GENERATED

fn prepare_registers(workgroup: u32, num_workgroups: vec3<u32>, thread: u32) {}
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, thread);
    if choose_rows(params.first_workgroup + workgroup, thread) {
        evaluate(params.chunk + workgroup_id.z);
    }
}
