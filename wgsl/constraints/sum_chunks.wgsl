// partials[0][i] = sum over c < chunks of partials[c][i],   i < len = accumulators * evaluations, in place.
//
// EF, `len` elements a chunk. One thread per i, so reads are coalesced; moves chunks * len * 16 bytes once.
// Serves where there are many evaluations; few go straight to reduce.wgsl.
// Host reference: kernels::constraints::tests.
#import grid
#import field/ext

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i >= params.len {
        return;
    }
    var sum = partials[i];
    for (var c = 1u; c < params.chunks; c++) {
        sum = e_add(sum, partials[c * params.len + i]);
    }
    partials[i] = sum;
}
