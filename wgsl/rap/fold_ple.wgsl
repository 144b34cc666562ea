// Folds the univariate variable of prismalinear columns at r_0 (upstream's fold_ple_evals):
//
//   tile[column * stride + offset + x] = sum_{i < N} L_i T[(first_x + x) * N + i],   x < xs,
//
// L_i = lagrange[i] the i-th Lagrange basis polynomial of D at r_0, T the (lifted) column. F in, EF out.
// Columns: entries[start..start + count] as (source, tile column), see rap/columns.wgsl.
// One thread per output; reads N words that lie together (a cache line for N = 16), writes 16 bytes.
// PACKED: columns of many traces (rap/tile_job.wgsl).
// Host reference: upstream's fold_ple_evals.
#import grid
#import field/ext
#import rap/columns
#import rap/tile_job

#interface

#if PACKED
#else
fn tile_job(workgroup: u32) -> TileJob {
    let p = params;
    return TileJob(0u, p.start, p.count, p.height, p.first_x, p.xs, p.stride, p.offset, 0u, 0u, 0u, 0u);
}
#endif

/// Terms i..i + 4 of the sum.
fn four_terms(source: u32, row: u32, i: u32, height: u32) -> Ext {
    let v = vec4<u32>(
        column_value(source, row + i, height),
        column_value(source, row + i + 1u, height),
        column_value(source, row + i + 2u, height),
        column_value(source, row + i + 3u, height),
    );
    let a = lagrange[i];
    let b = lagrange[i + 1u];
    let c = lagrange[i + 2u];
    let d = lagrange[i + 3u];
    return vec4<u32>(
        f_dot4(vec4<u32>(a.x, b.x, c.x, d.x), v),
        f_dot4(vec4<u32>(a.y, b.y, c.y, d.y), v),
        f_dot4(vec4<u32>(a.z, b.z, c.z, d.z), v),
        f_dot4(vec4<u32>(a.w, b.w, c.w, d.w), v),
    );
}

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
    let x = e % job.rows;
    let row = (job.first + x) << params.l_skip;
    let n = 1u << params.l_skip;
    var sum = E_ZERO;
    if n >= 4u {
        for (var i = 0u; i < n; i += 4u) {
            sum = e_add(sum, four_terms(entry.x, row, i, job.height));
        }
    } else {
        for (var i = 0u; i < n; i++) {
            sum = e_add(sum, e_scale(lagrange[i], column_value(entry.x, row + i, job.height)));
        }
    }
    tile[job.tile_at + entry.y * job.stride + x] = sum;
}
