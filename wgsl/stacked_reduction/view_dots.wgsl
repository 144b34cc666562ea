// partials[(slot + c) 2^log_blocks + block] = sum over the rows of the block of source[offset + c pitch + row stride] * E[row], c < views,
// where E[row] = row_weights[(row mod block size) << weight_shift] * eq(block, u[..]).
//
// The last pass over the cells, of runs of columns, one for each job (jobs.wgsl), in whose three vectors the words of `Run` follow the first
// workgroup: a block is 2^block_bits rows, and log_blocks challenges from `u_word` on weigh the blocks. 2^team_bits
// threads walk the rows of a block for four columns at once, so that a weight is loaded once for four cells; a workgroup holds
// 256 >> team_bits such teams. Reads 4 bytes and does 4 wide products per cell. Host reference: `tests::openings_of_columns`.
#import grid
#import jobs
#import reduce
#import transcript/tape
#import stacked_reduction/dot4

#interface

const THREADS: u32 = 256u;
/// Of four columns.
const SUMS: u32 = 4u;
var<workgroup> sums: array<vec4<u32>, 1024>;

const JOB_VECTORS: u32 = 3u;

struct Run {
    first_workgroup: u32,
    offset: u32,
    pitch: u32,
    stride: u32,
    views: u32,
    block_bits: u32,
    team_bits: u32,
    weight_shift: u32,
    slot: u32,
}

fn run_of(workgroup: u32) -> Run {
    let at = job_vector(params.first_job, params.jobs_len, workgroup);
    let a = jobs[at];
    let b = jobs[at + 1u];
    return Run(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, jobs[at + 2u].x);
}

fn cells(p: u32, steps: vec3<u32>) -> vec4<u32> {
    return vec4<u32>(source[p], source[p + steps.x], source[p + steps.y], source[p + steps.z]);
}

/// eq(block, u) over the challenges that weigh blocks.
fn block_weight(block: u32) -> Ext {
    var weight = E_ONE;
    for (var j = 0u; j < params.log_blocks; j++) {
        let product = e_mul(weight, tape_ext(params.u_word + 12u * j));
        if ((block >> j) & 1u) != 0u {
            weight = product;
        } else {
            weight = e_sub(weight, product);
        }
    }
    return weight;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let run = run_of(workgroup);
    let group = workgroup - run.first_workgroup;
    let block = group & ((1u << params.log_blocks) - 1u);
    let teams = THREADS >> run.team_bits;
    let team = 1u << run.team_bits;
    // columns beyond the last are computed as the last and not written
    let first = (group >> params.log_blocks) * teams * 4u;
    let column = first + 4u * (local >> run.team_bits);
    let last = run.views - 1u;
    let start = run.offset + (block << run.block_bits) * run.stride;
    let at0 = start + min(column, last) * run.pitch;
    let at1 = start + min(column + 1u, last) * run.pitch;
    let at2 = start + min(column + 2u, last) * run.pitch;
    let at3 = start + min(column + 3u, last) * run.pitch;
    var sum0 = E_ZERO;
    var sum1 = E_ZERO;
    var sum2 = E_ZERO;
    var sum3 = E_ZERO;
    // four rows a step; a block of one or two rows has fewer, whose places are taken by the first row with weight zero
    let rows = 1u << run.block_bits;
    let next = vec3<u32>(team, 2u * team, 3u * team);
    let there = next < vec3<u32>(rows);
    let ahead = select(vec3<u32>(0u), next, there);
    let steps = ahead * run.stride;
    for (var row = local & (team - 1u); row < rows; row += 4u * team) {
        let p = row * run.stride;
        let w0 = row_weights[row << run.weight_shift];
        let w1 = select(E_ZERO, row_weights[(row + ahead.x) << run.weight_shift], there.x);
        let w2 = select(E_ZERO, row_weights[(row + ahead.y) << run.weight_shift], there.y);
        let w3 = select(E_ZERO, row_weights[(row + ahead.z) << run.weight_shift], there.z);
        sum0 = e_add(sum0, e_dot4(w0, w1, w2, w3, cells(at0 + p, steps)));
        sum1 = e_add(sum1, e_dot4(w0, w1, w2, w3, cells(at1 + p, steps)));
        sum2 = e_add(sum2, e_dot4(w0, w1, w2, w3, cells(at2 + p, steps)));
        sum3 = e_add(sum3, e_dot4(w0, w1, w2, w3, cells(at3 + p, steps)));
    }
    sums[local] = sum0;
    sums[THREADS + local] = sum1;
    sums[2u * THREADS + local] = sum2;
    sums[3u * THREADS + local] = sum3;
    reduce(local, team, 1u);
    store_columns(run, first, block, local);
}

/// The sums of the columns from `first` on that the workgroup has taken, weighted with the block's.
fn store_columns(run: Run, first: u32, block: u32, local: u32) {
    let teams = THREADS >> run.team_bits;
    // a team of fewer than four threads writes several columns a thread
    for (var k = local; k < 4u * teams; k += THREADS) {
        if first + k < run.views {
            let sum = sums[THREADS * (k & 3u) + ((k >> 2u) << run.team_bits)];
            partials[((run.slot + first + k) << params.log_blocks) + block] = e_mul(sum, block_weight(block));
        }
    }
}
