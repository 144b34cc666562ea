// One of the tiles that a dispatch fills, and where its columns come from.
//
// PACKED: a dispatch fills tiles of many traces, whose cells lie in one buffer (`segment`). Jobs (jobs.wgsl) are three vectors, in the
// order of the members (kernels::rap::packed). Else the only job is the dispatch's parameters.
// A kernel that imports this declares `params` and, with PACKED, `jobs`.

struct TileJob {
    first_workgroup: u32,
    /// The columns are entries[start..start + count], as rap/columns.wgsl reads them.
    start: u32,
    count: u32,
    height: u32,
    /// Of the rows or hypercube points of the trace, from the first on.
    first: u32,
    rows: u32,
    /// Columns of a tile over F; elements from column to column over EF.
    stride: u32,
    tile_at: u32,
    /// First cell of the trace, and log2 of the distance of its cells.
    segment_at: u32,
    log_stride: u32,
    cosets: u32,
    log_columns: u32,
}

#if PACKED
#import jobs

const JOB_VECTORS: u32 = 3u;

fn tile_job(workgroup: u32) -> TileJob {
    let at = job_vector(0u, params.jobs_len, workgroup);
    let a = jobs[at];
    let b = jobs[at + 1u];
    let c = jobs[at + 2u];
    return TileJob(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w);
}
#endif
