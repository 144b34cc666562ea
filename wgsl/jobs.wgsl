// The jobs of a dispatch that has many: vectors of a table, JOB_VECTORS a job. The first word of a job is its first workgroup; workgroups of
// a job follow one another.
//
// A kernel that imports this declares JOB_VECTORS and `jobs: array<vec4<u32>>`.

/// Where the job of a workgroup begins, one of `count` from the `first`-th on: the last that begins at or before the workgroup.
fn job_vector(first: u32, count: u32, workgroup: u32) -> u32 {
    var job = first;
    var end = first + count;
    while end - job > 1u {
        let middle = (job + end) >> 1u;
        if jobs[JOB_VECTORS * middle].x <= workgroup {
            job = middle;
        } else {
            end = middle;
        }
    }
    return JOB_VECTORS * job;
}
