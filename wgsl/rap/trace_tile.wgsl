// Tile of trace rows: tile[tile_at(column, r)] = source(first_row + r), r < rows, for the columns in entries[start..start + count].
//
// F words, as rap/tile_at.wgsl lays them out. entries: (source, tile column), see rap/columns.wgsl. One thread per value, rows fastest, so reads and writes
// are coalesced; reads and writes rows * count words once.
// Host reference: kernels::rap::tile::tests.
#import grid
#import rap/columns
#import rap/tile_at

struct Params {
    start: u32,
    count: u32,
    height: u32,
    first_row: u32,
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> segment: array<u32>;
@group(0) @binding(1) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> tile: array<u32>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    if e >= params.count * params.rows {
        return;
    }
    let entry = entries[params.start + e / params.rows];
    let r = e % params.rows;
    tile[tile_at(entry.y, r, params.columns)] = column_value(entry.x, params.first_row + r, params.height);
}
