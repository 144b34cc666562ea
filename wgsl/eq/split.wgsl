// The two halves of a tensor product of pairs (tensor.wgsl): low[y] over the first low_bits coordinates, high[y] over the high_bits that follow, so
// that entry (y_high, y_low) of the whole table of 2^(low_bits + high_bits) entries is high[y_high] low[y_low].
//
// coordinates: extension elements, x_0 of table z at first + z step. out: low at at + z len, high behind it, `len` entries in all (without high
// when that is only the empty product).
// One thread an entry, at most 14 products each: tables of up to 2^14 entries, so depth does not matter.
// Host reference: evals_eq_hypercube.
#import grid
#import eq/tensor

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 64u + local;
    if i >= params.len {
        return;
    }
    let low = 1u << params.low_bits;
    let upper = i >= low;
    let y = select(i, i - low, upper);
    let bits = select(params.low_bits, params.high_bits, upper);
    let first = params.first + workgroup.z * params.step + select(0u, params.low_bits, upper);
    out[params.at + workgroup.z * params.len + i] = tensor_entry(first, bits, y, params.factors);
}
