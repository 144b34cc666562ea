// combined[out_at + row] (+)= sum_c lambda_powers[2 (first_view + c)] * source[offset + c * pitch + row * stride], c < views, row < rows.
//
// One pass over the cells of runs of equally tall columns, one for each job (jobs.wgsl), in whose three vectors the words of `Run` follow the
// first workgroup. With L = 2^row_threads_log a workgroup takes 4 L consecutive rows, a thread rows
// l, l + L, l + 2 L and l + 3 L of them, so that a weight is loaded once for four cells. L is at least 32 where there are as many rows,
// so that a subgroup reads whole cache lines; where rows are few, the columns spread over 256 / L threads, whose sums meet in workgroup
// memory. Reads 4 bytes and does 4 wide products per cell; writes 16 bytes per row (and reads them when it accumulates).
// Host reference: `tests::combinations_of_columns`.
#import grid
#import jobs
#import reduce
#import stacked_reduction/dot4

#interface

const THREADS: u32 = 256u;
/// Of rows l, l + L, l + 2 L and l + 3 L.
const SUMS: u32 = 4u;
var<workgroup> sums: array<vec4<u32>, 1024>;

const JOB_VECTORS: u32 = 3u;

struct Run {
    first_workgroup: u32,
    offset: u32,
    pitch: u32,
    stride: u32,
    rows: u32,
    views: u32,
    first_view: u32,
    row_threads_log: u32,
    accumulate: u32,
    out_at: u32,
}

fn run_of(workgroup: u32) -> Run {
    let at = job_vector(params.first_job, params.jobs_len, workgroup);
    let a = jobs[at];
    let b = jobs[at + 1u];
    let c = jobs[at + 2u];
    return Run(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y);
}

/// The cells of four columns from element `p` on.
fn cells(p: u32, pitch: u32) -> vec4<u32> {
    return vec4<u32>(source[p], source[p + pitch], source[p + 2u * pitch], source[p + 3u * pitch]);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let run = run_of(workgroup);
    let row_threads = 1u << run.row_threads_log;
    let first = (workgroup - run.first_workgroup) * 4u * row_threads;
    let row = first + (local & (row_threads - 1u));
    // rows beyond the last are computed as the last and not written
    let rows = min(vec4<u32>(row, row + row_threads, row + 2u * row_threads, row + 3u * row_threads), vec4<u32>(run.rows - 1u));
    let at = run.offset + rows * run.stride;
    let step = 4u * (THREADS >> run.row_threads_log);
    var sum0 = E_ZERO;
    var sum1 = E_ZERO;
    var sum2 = E_ZERO;
    var sum3 = E_ZERO;
    for (var c = 4u * (local >> run.row_threads_log); c < run.views; c += step) {
        let w = 2u * (run.first_view + c);
        let p = at + c * run.pitch;
        let left = run.views - c;
        if left >= 4u {
            let w0 = lambda_powers[w];
            let w1 = lambda_powers[w + 2u];
            let w2 = lambda_powers[w + 4u];
            let w3 = lambda_powers[w + 6u];
            sum0 = e_add(sum0, e_dot4(w0, w1, w2, w3, cells(p.x, run.pitch)));
            sum1 = e_add(sum1, e_dot4(w0, w1, w2, w3, cells(p.y, run.pitch)));
            sum2 = e_add(sum2, e_dot4(w0, w1, w2, w3, cells(p.z, run.pitch)));
            sum3 = e_add(sum3, e_dot4(w0, w1, w2, w3, cells(p.w, run.pitch)));
        } else {
            for (var k = 0u; k < left; k++) {
                let weight = lambda_powers[w + 2u * k];
                let q = p + k * run.pitch;
                sum0 = e_add(sum0, e_scale(weight, source[q.x]));
                sum1 = e_add(sum1, e_scale(weight, source[q.y]));
                sum2 = e_add(sum2, e_scale(weight, source[q.z]));
                sum3 = e_add(sum3, e_scale(weight, source[q.w]));
            }
        }
    }
    sums[local] = sum0;
    sums[THREADS + local] = sum1;
    sums[2u * THREADS + local] = sum2;
    sums[3u * THREADS + local] = sum3;
    reduce(local, THREADS, row_threads);
    store_rows(run, first, local);
}

/// The sums of the rows from `first` on that the workgroup has taken.
fn store_rows(run: Run, first: u32, local: u32) {
    let row_threads = 1u << run.row_threads_log;
    for (var i = local; i < 4u * row_threads; i += THREADS) {
        let target_row = first + i;
        if target_row < run.rows {
            var total = sums[THREADS * (i >> run.row_threads_log) + (i & (row_threads - 1u))];
            if run.accumulate != 0u {
                total = e_add(total, combined[run.out_at + target_row]);
            }
            combined[run.out_at + target_row] = total;
        }
    }
}
