// out[y] = high[y >> low_bits] * low[y & (2^low_bits - 1)], the whole table of wgsl/eq/split.wgsl.
//
// halves: low, then high. One thread an entry; 16 bytes written an entry, the halves stay in cache.
// Host reference: evals_eq_hypercube.
#import grid
#import field/ext

struct Params {
    len: u32,
    low_bits: u32,
}

@group(0) @binding(0) var<storage, read> halves: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let y = linear_workgroup(workgroup, workgroups) * 256u + lane;
    if y < params.len {
        let low = 1u << params.low_bits;
        out[y] = e_mul(halves[low + (y >> params.low_bits)], halves[y & (low - 1u)]);
    }
}
