// out[row] = sum_{i < len} values[row * len + i] over the extension: finishes a reduction whose workgroups left one partial sum each.
//
// One workgroup a row: threads stride over it, then a tree in workgroup memory.
// Host reference: the sum.
#import grid
#import field/ext
#import reduce

#interface

const THREADS: u32 = 256u;
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups);
    var sum = E_ZERO;
    if row < params.rows {
        for (var i = local; i < params.len; i += THREADS) {
            sum = e_add(sum, values[row * params.len + i]);
        }
    }
    sums[local] = sum;
    reduce(local, THREADS, 1u);
    if local == 0u && row < params.rows {
        out[row] = sums[local];
    }
}
