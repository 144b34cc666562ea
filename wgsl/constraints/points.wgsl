// Constraint programs on the cosets of round 0.
//
//   partials[c][a][e] = eq[e / points] * acc_a,   e < evaluations,
//
// with acc_a accumulator a < accumulators (1 or 2) of chunk c at row e = x * points + p of the tile: x a hypercube point, p a
// point of the cosets.
//
// tile: F, column-major, `stride` words (a multiple of 4) a column; weights, eq, partials: EF; constants: the program's, then the public values.
// Thread: four rows (base_values.wgsl). Workgroup: 256 rows of one chunk; z: chunks from `chunk` on; x, y: workgroups from
// `first_workgroup` on.
// INTERPRETED runs encoded records; without, `evaluate` is the generated text of one chunk.
// Host reference: constraints::host::Program::eval_row.
#import grid
#import constraints/base_values

struct Params {
    stride: u32,
    evaluations: u32,
    points: u32,
    eq_offset: u32,
    accumulators: u32,
    chunk: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> eq: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<u32>>;
var<immediate> params: Params;

#if INTERPRETED
@group(0) @binding(5) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> spill: array<vec4<u32>>;
#import constraints/interpreter
#else
// GENERATED

fn prepare_registers(workgroup: u32, num_workgroups: vec3<u32>, thread: u32) {}
#endif

fn store(chunk: u32, k: u32) {
    let e = 4u * quad + k;
    if e >= params.evaluations {
        return;
    }
    let at = chunk * params.accumulators * params.evaluations + e;
    let weight = eq[params.eq_offset + e / params.points];
    partials[at] = e_mul(weight, sum0(k));
    if params.accumulators == 2u {
        partials[at + params.evaluations] = e_mul(weight, sum1(k));
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, thread);
    if !choose_rows(params.first_workgroup + workgroup, thread) {
        return;
    }
    let chunk = params.chunk + workgroup_id.z;
    evaluate(chunk);
    store(chunk, 0u);
    store(chunk, 1u);
    store(chunk, 2u);
    store(chunk, 3u);
}
