// eq tables of all suffixes of a layer's point, split in two halves so that they stay small:
//   low:  for m = 0..=low_vars,  eq((xi_{low_vars - m} .. xi_{low_vars - 1}), y) at  2^m + y                        (y < 2^m)
//   high: for m = 0..=high_vars, eq((xi_{n - m} .. xi_{n - 1}), y)               at  2^(low_vars + 1) + 2^m + y     (n = low_vars + high_vars)
// Bit i of y belongs to the i-th variable of the suffix. eq(xi_a .., y) is then one product of a low and a high entry.
//
// One thread an entry, at most 14 products each; 2^(low_vars + 1) + 2^(high_vars + 1) entries. Host reference: evals_eq_hypercube.
#import grid
#import field/ext

struct Params {
    low_vars: u32,
    high_vars: u32,
    // where the point begins in `state`
    point: u32,
}

@group(0) @binding(0) var<storage, read> state: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> eq: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let entry = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    let low = 2u << params.low_vars;
    let in_low = entry < low;
    let node = select(entry - low, entry, in_low);
    if node == 0u || entry >= low + (2u << params.high_vars) {
        return;
    }
    let vars = firstLeadingBit(node);
    let end = params.point + params.low_vars + select(params.high_vars, 0u, in_low);
    var product = E_ONE;
    for (var i = 0u; i < vars; i++) {
        let xi = state[end - vars + i];
        let one = (node & (1u << i)) != 0u;
        product = e_mul(product, select(e_sub(E_ONE, xi), xi, vec4<bool>(one)));
    }
    eq[entry] = product;
}
