// g[y] = sum_{b < 2^k} weights[b] f[2^k y + b]: k rounds of folding at once. With f the coefficients of a multilinear polynomial and
// weights[b] = prod_{i in b} alpha_i, g are the coefficients of f(alpha_0, .., alpha_{k-1}, .).
//
// One thread an output, 2^k products; reads f once, writes 2^-k of it.
// Host reference: k single folds.
#import grid
#import field/ext

#interface

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let y = linear_workgroup(workgroup, workgroups) * 256u + local;
    if y >= params.len {
        return;
    }
    let first = y << params.k;
    var sum = f[first]; // weights[0] = 1
    for (var b = 1u; b < (1u << params.k); b++) {
        sum = e_add(sum, e_mul(weights[b], f[first + b]));
    }
    g[y] = sum;
}
