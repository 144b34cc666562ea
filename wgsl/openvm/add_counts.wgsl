// out[first_out + i] += counts[first + i] for i < len: what the device has counted is added to the multiplicities of a lookup table, which the
// host has filled with what its own chips count.
//
// One thread a row of the table. Host reference: the sum.
#import grid
#import field/baby_bear

struct Params {
    first: u32,
    len: u32,
    first_out: u32,
}

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 256u + local;
    if i < params.len {
        let at = params.first_out + i;
        out[at] = f_add(out[at], f_from_u32(counts[params.first + i] % P));
    }
}
