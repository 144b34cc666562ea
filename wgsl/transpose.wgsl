// out[first_out + c * height + r] = values[r * row_len + skip + c] for r < rows, c < columns: rows of a row-major matrix become parts of the
// columns of one segment.
//
// One workgroup a tile of 32 x 32, eight rows at a time, through workgroup memory, so that both sides are read and written along their
// rows; lines of 33 words keep the columns of the tile in different banks. `column_tiles` tiles lie side by side.
// Host reference: `ColMajorMatrix::from_row_major`.
#import grid

#interface

const TILE: u32 = 32u;
const LINE: u32 = 33u;
var<workgroup> tile: array<u32, 1056>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups);
    let row = index / params.column_tiles * TILE;
    let column = index % params.column_tiles * TILE;
    let x = local % TILE;
    for (var y = local / TILE; y < TILE; y += 8u) {
        if row + y < params.rows && column + x < params.columns {
            tile[y * LINE + x] = values[(row + y) * params.row_len + params.skip + column + x];
        }
    }
    workgroupBarrier();
    for (var y = local / TILE; y < TILE; y += 8u) {
        if row + x < params.rows && column + y < params.columns {
            out[params.first_out + (column + y) * params.height + row + x] = tile[x * LINE + y];
        }
    }
}
