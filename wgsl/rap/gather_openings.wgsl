// Column openings out of tiles that are folded to one row: openings[target] = tile[column], or 0 where that is NONE, for
// (column, target) = columns[start + k], k < count.
//
// EF, one thread per opening. Host reference: upstream's into_column_openings.
#import grid
#import field/ext

const NONE: u32 = 0xffffffffu;

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let k = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if k >= params.count {
        return;
    }
    let column = columns[params.start + k];
    var value = E_ZERO;
    if column.x != NONE {
        value = tile[column.x];
    }
    openings[column.y] = value;
}
