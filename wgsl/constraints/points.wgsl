// Constraint programs on the cosets of round 0.
//
//   partials[c][a][e] = eq[e / points] * acc_a,   e < evaluations,
//
// with acc_a accumulator a < accumulators (1 or 2) of chunk c at row e = x * points + p of the tile: x a hypercube point, p a
// point of the cosets.
//
// tile: F, `columns` columns as rap/tile_at.wgsl lays them out; weights, eq, partials: EF; constants: the program's, then the public values.
//
// INTERPRETED runs encoded records, four rows a thread (base_values.wgsl). Workgroup: 256 rows of one chunk; z: chunks from `chunk` on;
// x, y: workgroups from `first_workgroup` on.
// Without, `evaluate` is generated: the text of several chunks, z says which, for one row a thread (scalar_values.wgsl). A workgroup
// adds the rows that have the same point, if `points` divides 256: then
//   partials[c][a][w * points + p] = sum over the rows x * points + p of workgroup w of eq[x] * acc_a.
// Host reference: constraints::host::Program::eval_row.
#import grid

#interface
#import constraints/one

#if INTERPRETED
alias Tile = vec4<u32>;
#import constraints/base_values
#import constraints/interpreter

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
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    prepare_registers(workgroup, num_workgroups, local);
    choose_quad((params.first_workgroup + workgroup) * 64u + local, 0u, params.columns);
    if 4u * quad >= params.evaluations {
        return;
    }
    let chunk = params.chunk + workgroup_id.z;
    evaluate(chunk);
    store(chunk, 0u);
    store(chunk, 1u);
    store(chunk, 2u);
    store(chunk, 3u);
}
#else
alias Tile = u32;
#import constraints/scalar_values
#generated

var<workgroup> shared_sums: array<vec4<u32>, ROWS>;

/// Stores accumulator a of the chunk, `value` for this thread's row.
fn store(chunk: u32, a: u32, row: u32, value: Ext) {
    let local = row % ROWS;
    let workgroups = (params.evaluations + ROWS - 1u) / ROWS;
    if ROWS % params.points != 0u {
        if row < params.evaluations {
            partials[(chunk * params.accumulators + a) * params.evaluations + row] = value;
        }
        return;
    }
    workgroupBarrier();
    shared_sums[local] = value;
    workgroupBarrier();
    if local < params.points && row / ROWS < workgroups {
        var sum = value;
        for (var t = local + params.points; t < ROWS; t += params.points) {
            sum = e_add(sum, shared_sums[t]);
        }
        let len = workgroups * params.points;
        partials[(chunk * params.accumulators + a) * len + (row / ROWS) * params.points + local] = sum;
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (params.first_workgroup + linear_workgroup(workgroup_id, num_workgroups)) * ROWS + local;
    // threads behind the last row evaluate it, too, and count for nothing
    let evaluated = min(row, params.evaluations - 1u);
    choose_row(evaluated);
    evaluate(workgroup_id.z);
    var weight = eq[params.eq_offset + evaluated / params.points];
    if row != evaluated {
        weight = E_ZERO;
    }
    let chunk = params.chunk + workgroup_id.z;
    store(chunk, 0u, row, e_mul(weight, sum0()));
    if params.accumulators == 2u {
        store(chunk, 1u, row, e_mul(weight, sum1()));
    }
}
#endif
