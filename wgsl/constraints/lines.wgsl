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

#interface
#import constraints/one
#import constraints/line_values

fn column(c: u32) -> Value {
    return value_on_line(c * params.stride + row, params.points, params.last != 0u);
}

#if INTERPRETED
#import constraints/interpreter
#else
#generated

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
