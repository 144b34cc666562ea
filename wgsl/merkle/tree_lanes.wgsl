// Small layers of a Merkle tree, whose latency counts: as tree.wgsl, but 16 lanes of a subgroup compute a node together (poseidon2_lanes.wgsl).
//
// A workgroup takes 2^levels nodes (at most 2^7) of the layer of `len` nodes at `start` and computes the `levels` layers above them, up to
// one node: 16 nodes at a time, lane i of a node's 16 with word i of its two children. The layers pass through workgroup memory, each in the
// other half, as atomics (docs/metal.md). Lanes without a node permute what others do, since shuffles must stand under no condition.
// Only for devices with subgroups of 16 lanes or more (SUBGROUP16). Host reference: MerkleTree::new, digest_layers.
#import grid
#import poseidon2_lanes

#interface

var<workgroup> layers: array<array<atomic<u32>, 512>, 2>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let word = local & 15u;
    let permuting = p2_lane(lane);
    // so that a compiler sees that all threads get to the shuffles
    let half_of_nodes = 1u << (subgroupBroadcastFirst(params.levels) - 1u);
    // of the layer that is computed
    var len = params.len >> 1u;
    var start = params.start + params.len;
    var above = 0u;
    for (var count = half_of_nodes; count > 0u; count >>= 1u) {
        for (var first = 0u; first < count; first += 16u) {
            let node = first + (local >> 4u);
            let child_word = (16u * node + word) & (16u * count - 1u);
            var x: u32;
            if count == half_of_nodes {
                x = nodes[8u * params.start + 16u * count * workgroup + child_word];
            } else {
                x = atomicLoad(&layers[above ^ 1u][child_word]);
            }
            x = p2_lanes(x, permuting);
            if node < count && word < 8u {
                atomicStore(&layers[above][8u * node + word], x);
                nodes[8u * (start + count * workgroup + node) + word] = x;
                if len == 1u {
                    root[word] = x;
                }
            }
        }
        workgroupBarrier();
        start += len;
        len >>= 1u;
        above ^= 1u;
    }
}
