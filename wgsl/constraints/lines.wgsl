// Constraint programs in the MLE rounds.
//
//   partials[c][a][y * points + X - 1] = eq[y] * acc_a,   X in 1..=points,
//
// with acc_a accumulator a < accumulators (1 or 2) of chunk c on the values t(X, y) = t_0 + (t_1 - t_0) X of every column, where
// t_0, t_1 are rows 2 y and 2 y + 1 of the tile. With LAST the tile has one row (no variable left), which is the value itself.
//
// tile: EF, column-major, `stride` elements a column; weights, eq, partials: EF; constants: the program's, then the public values.
// Thread: one evaluation. Workgroup: 64 evaluations of one chunk; z: chunks from `chunk` on; x, y: workgroups from
// `first_workgroup` on.
// INTERPRETED runs encoded records; without, `evaluate` is the generated text of one chunk.
// Host reference: constraints::host::Program::eval_row.
#import grid
#import field/ext

struct Params {
    stride: u32,
    evaluations: u32,
    points: u32,
    eq_offset: u32,
    accumulators: u32,
    chunk: u32,
    first_workgroup: u32,
    last: u32,
}

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> eq: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<u32>>;
var<immediate> params: Params;

alias Value = Ext;

/// Row of t_0.
var<private> row: u32;
/// X.
var<private> point: u32;

var<private> acc0: Ext;
var<private> acc1: Ext;

fn column(c: u32) -> Value {
    let at = c * params.stride + row;
    let t_0 = tile[at];
    if params.last != 0u {
        return t_0;
    }
    let t_1 = tile[at + 1u];
    let slope = e_sub(t_1, t_0);
    if params.points > 3u {
        return e_add(t_0, e_scale(slope, f_from_u32(point)));
    }
    // t_1 + (X - 1) slope: additions are cheaper than four products
    let at_2 = e_add(t_1, select(E_ZERO, slope, point >= 2u));
    return e_add(at_2, select(E_ZERO, slope, point == 3u));
}

fn lift(word: u32) -> Value {
    return e_from_base(word);
}

fn constant(i: u32) -> u32 {
    return constants[i];
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
    let term = e_mul(weights[k], a);
    if acc == 0u {
        acc0 = e_add(acc0, term);
    } else {
        acc1 = e_add(acc1, term);
    }
}

fn accumulate0(k: u32, a: Value) {
    accumulate(0u, k, a);
}

fn accumulate1(k: u32, a: Value) {
    accumulate(1u, k, a);
}

#if INTERPRETED
@group(0) @binding(5) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> spill: array<vec4<u32>>;
#import constraints/interpreter
#else
// GENERATED

fn prepare_registers(workgroup: u32, num_workgroups: vec3<u32>, local: u32) {}
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, local);
    let e = (params.first_workgroup + workgroup) * 64u + local;
    if e >= params.evaluations {
        return;
    }
    let chunk = params.chunk + workgroup_id.z;
    let y = e / params.points;
    row = 2u * y;
    point = e - y * params.points + 1u;
    evaluate(chunk);
    let at = chunk * params.accumulators * params.evaluations + e;
    let weight = eq[params.eq_offset + y];
    partials[at] = e_mul(weight, acc0);
    if params.accumulators == 2u {
        partials[at + params.evaluations] = e_mul(weight, acc1);
    }
}
