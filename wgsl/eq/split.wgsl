// The two halves of a tensor product of pairs: with factors a_i, b_i for coordinate x_i,
//   low[y]  = prod_{i < low_bits} (bit i of y ? b_i : a_i),
//   high[y] = the same over the high_bits coordinates that follow,
// so that entry (y_high, y_low) of the whole table of 2^(low_bits + high_bits) entries is high[y_high] low[y_low].
// Factors: b = x always; a = 1 - x (equality polynomial) or 1 (monomials; powers of x_0 where x_{i+1} = x_i^2).
//
// coordinates: extension elements, x_0 at `first`. out: low at `at`, high behind it, `len` entries in all (without high when
// that is only the empty product).
// One thread an entry, at most 14 products each: tables of up to 2^14 entries, so depth does not matter.
// Host reference: evals_eq_hypercube.
#import grid
#import field/ext

struct Params {
    first: u32,
    low_bits: u32,
    high_bits: u32,
    factors: u32,
    at: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> coordinates: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

/// a_i of a coordinate; `factors` is `kernels::eq::Factors` in order.
fn zero_factor(x: Ext) -> Ext {
    if params.factors == 0u {
        return e_sub(E_ONE, x);
    }
    return E_ONE;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 64u + lane;
    if i >= params.len {
        return;
    }
    let low = 1u << params.low_bits;
    let upper = i >= low;
    var y = select(i, i - low, upper);
    let bits = select(params.low_bits, params.high_bits, upper);
    let first = params.first + select(0u, params.low_bits, upper);
    var product = E_ONE;
    for (var bit = 0u; bit < bits; bit++) {
        let x = coordinates[first + bit];
        var factor = x;
        if ((y >> bit) & 1u) == 0u {
            factor = zero_factor(x);
        }
        product = e_mul(product, factor);
    }
    out[params.at + i] = product;
}
