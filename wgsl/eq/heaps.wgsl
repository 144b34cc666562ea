// eq over all prefixes, or over all suffixes, of a point (x_0, .., x_{n-1}) in two parts, n = low_vars + high_vars, so that the tables stay small:
//   low:  for m = 0..=low_vars,  eq(m variables of x_0 .. x_{low_vars - 1}, y)  at  2^m + y,                    y < 2^m
//   high: for m = 0..=high_vars, eq(m variables of x_{low_vars} .. x_{n-1}, y)  at  2^(low_vars + 1) + 2^m + y
// where the m variables are the last ones of the part with `suffixes`, else the first. Bit i of y belongs to the i-th of them. eq over any prefix or
// suffix is then one product of a low and a high entry. The first entry of either part is unused.
//
// coordinates: x_0 at `first`. One thread an entry, at most 14 products each. Host reference: evals_eq_hypercube.
#import grid
#import eq/tensor

#interface

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
    let begin = params.first + select(params.low_vars, 0u, in_low);
    let others = select(params.high_vars, params.low_vars, in_low) - vars;
    let first = begin + select(0u, others, params.suffixes != 0u);
    heaps[entry] = tensor_entry(first, vars, node, EQ);
}
