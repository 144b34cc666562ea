// Layers of a Merkle tree: node i of a layer is compress(nodes 2 i, 2 i + 1 of the layer below).
//
// All layers lie in `nodes`, one behind the other from the leaves to the root, two vectors a node. A workgroup takes 512 nodes of the layer
// of `len` nodes at `start` and computes `levels` layers above them (at most 9), the lower ones of which pass through workgroup memory.
// With one level every thread computes one node; more levels leave threads idle, which is cheaper than a dispatch where nodes are few.
// The single node of the last layer is also written to `root`. Host reference: MerkleTree::new, digest_layers.
#import grid
#import poseidon2

#interface

var<workgroup> below: array<vec4<u32>, 512>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    // of the layer that is computed
    var len = params.len >> 1u;
    var start = params.start + params.len;
    var per_workgroup = 256u;
    let first = 2u * (params.start + 2u * (256u * workgroup + local));
    for (var level = 0u; level < params.levels; level++) {
        let node = per_workgroup * workgroup + local;
        let active_node = local < per_workgroup && node < len;
        var digest: array<vec4<u32>, 2>;
        if active_node {
            var children: array<vec4<u32>, 4>;
            if level == 0u {
                children = array<vec4<u32>, 4>(nodes[first], nodes[first + 1u], nodes[first + 2u], nodes[first + 3u]);
            } else {
                let i = 4u * local;
                children = array<vec4<u32>, 4>(below[i], below[i + 1u], below[i + 2u], below[i + 3u]);
            }
            digest = p2_compress(children[0], children[1], children[2], children[3]);
        }
        workgroupBarrier();
        if active_node {
            below[2u * local] = digest[0];
            below[2u * local + 1u] = digest[1];
            nodes[2u * (start + node)] = digest[0];
            nodes[2u * (start + node) + 1u] = digest[1];
            if len == 1u {
                root[0] = digest[0];
                root[1] = digest[1];
            }
        }
        workgroupBarrier();
        start += len;
        len >>= 1u;
        per_workgroup >>= 1u;
    }
}
