// out[row] = sum_{i < len} values[row * len + i] over the extension: finishes a reduction whose workgroups left one partial sum each.
//
// One workgroup a row: threads stride over it, then a tree in workgroup memory.
// Host reference: the sum.
#import grid
#import field/ext

struct Params {
    rows: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> sums: array<vec4<u32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_workgroup(workgroup, workgroups);
    var sum = E_ZERO;
    if row < params.rows {
        for (var i = lane; i < params.len; i += 256u) {
            sum = e_add(sum, values[row * params.len + i]);
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var stride = 128u; stride > 0u; stride >>= 1u) {
        if lane < stride {
            sums[lane] = e_add(sums[lane], sums[lane + stride]);
        }
        workgroupBarrier();
    }
    if lane == 0u && row < params.rows {
        out[row] = sums[lane];
    }
}
