// Authentication paths: path[query][layer] = the sibling of the query's node in each layer below the root.
//
// The query's leaf is the low `bits` bits of word first_word + query of the transcript's tape; the tree has 2^bits leaves and lies in `nodes`
// as merkle/tree.wgsl leaves it, two vectors a node. One thread a vector. Host reference: MerkleTree::query_merkle_proof.
#import grid
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i >= 2u * params.queries * params.bits {
        return;
    }
    let layer = (i >> 1u) % params.bits;
    let leaf = tape_bits(params.first_word + (i >> 1u) / params.bits, params.bits);
    // the layers below take 2^(bits + 1) - 2^(bits + 1 - layer) nodes
    let nodes_below = (2u << params.bits) - ((2u << params.bits) >> layer);
    path[i] = nodes[2u * (nodes_below + ((leaf >> layer) ^ 1u)) + (i & 1u)];
}
