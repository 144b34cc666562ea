// Levels from + 1 .. from + levels, as far as there are so many, of trees of eq evaluations, out of level `from` (upstream's
// evals_eq_hypercubes, at other offsets):
//
//   tree[2^(k+1) + 2 y + b] = tree[2^k + y] * (b ? x : 1 - x),   x = xi[end - 1 - k],   tree[1] = 1,
//
// so level k, at tree[2^k ..], holds eq((xi[end - k], .., xi[end - 1]), y) for y in {0,1}^k, bit 0 of y belonging to the first.
// EF. trees[z]: where the tree begins, its levels, end. One thread per y of level `from` computes its 2 + 4 + .. + 2^levels descendants
// (which lie together in each level); thread 0 of level 0 writes the root. z: trees. Products: one per value.
// Host reference: upstream's evals_eq_hypercubes.
#import grid
#import field/ext

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let y = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if y >= (1u << params.from_level) {
        return;
    }
    let root = trees[3u * workgroup_id.z];
    let tree_levels = trees[3u * workgroup_id.z + 1u];
    let end = trees[3u * workgroup_id.z + 2u];
    if params.from_level == 0u {
        tree[root + 1u] = E_ONE;
    }
    for (var k = params.from_level; k < min(params.from_level + params.levels, tree_levels); k++) {
        let s = k - params.from_level;
        let x = xi[end - 1u - k];
        for (var d = y << s; d < (y + 1u) << s; d++) {
            let parent = tree[root + (1u << k) + d];
            let high = e_mul(parent, x);
            tree[root + (2u << k) + 2u * d + 1u] = high;
            tree[root + (2u << k) + 2u * d] = e_sub(parent, high);
        }
    }
}
