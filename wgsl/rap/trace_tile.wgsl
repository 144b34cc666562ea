// Tile of trace rows: tile[tile_from + tile_at(column, r)] = source(first + r), r < rows, for the columns in entries[start..start + count].
// PACKED: tiles of many traces (rap/tile_job.wgsl).
//
// F words, as rap/tile_at.wgsl lays them out. entries: (source, tile column), see rap/columns.wgsl. One thread per value, rows fastest, so reads and writes
// are coalesced; reads and writes rows * count words once.
// Host reference: kernels::rap::tile::tests.
#import grid
#import rap/columns
#import rap/tile_at
#import rap/tile_job

#interface

#if PACKED
#else
fn tile_job(workgroup: u32) -> TileJob {
    let p = params;
    return TileJob(0u, p.start, p.count, p.height, p.first, p.rows, p.columns, p.tile_from, 0u, 0u, 0u, 0u);
}
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let job = tile_job(workgroup);
#if PACKED
    packed_at = job.segment_at;
    packed_log_stride = job.log_stride;
#endif
    let e = (workgroup - job.first_workgroup) * 256u + local;
    if e >= job.count * job.rows {
        return;
    }
    let entry = entries[job.start + e / job.rows];
    let r = e % job.rows;
    tile[job.tile_at + tile_at(entry.y, r, job.stride)] = column_value(entry.x, job.first + r, job.height);
}
