// Folds one multilinear variable of all columns of a tile (upstream's fold_mle_evals):
//
//   target[c * target_stride + offset + y] = t_0 + r (t_1 - t_0),   t_k = source[c * 2 * rows + 2 * y + k],   y < rows, c < columns.
//
// EF; r is the challenge at word `challenge` of the transcript's tape. One thread per output: 32 bytes in, 16 out.
// Host reference: upstream's fold_mle_evals.
#import grid
#import transcript/tape

#interface

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    if e >= params.columns * params.rows {
        return;
    }
    let r = tape_ext(params.challenge);
    let c = e / params.rows;
    let y = e % params.rows;
    folded[c * params.target_stride + params.offset + y] = e_fold(source[2u * e], source[2u * e + 1u], r);
}
