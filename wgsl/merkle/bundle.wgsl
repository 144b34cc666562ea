// One layer of the compressions that bundle the rows of a query: row i and row i + stride, in blocks of 2 stride rows, into row i of blocks
// of `stride`. With i = x stride + y: dst[dst_start + i] = compress(left[left_start + 2 x stride + y], right[right_start + 2 x stride + y]).
//
// Two vectors a digest. One thread a result, one permutation. Bytes moved: 96 a result.
// Host reference: MerkleTree::new, its layers that are not stored.
#import grid
#import poseidon2

#interface

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 128u + local;
    if i >= params.len {
        return;
    }
    // 2 x stride + y
    let row = i + ((i >> params.log_stride) << params.log_stride);
    let l = 2u * (params.left_start + row);
    let r = 2u * (params.right_start + row);
    let digest = p2_compress(left[l], left[l + 1u], right[r], right[r + 1u]);
    let at = 2u * (params.dst_start + i);
    dst[at] = digest[0];
    dst[at + 1u] = digest[1];
}
