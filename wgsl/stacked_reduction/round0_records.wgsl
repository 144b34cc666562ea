// Partial sums over the hypercube of a combined vector Q, for each z of the skip domain:
//   record[z]       = sum_x Q(z, x) eq(x, r)
//   record[2^l + z] = sum_x Q(z, x) eq(rot^-1(x), r), only with `rot`; rot^-1(x) = x - 1 mod 2^n.
//
// Q is one piece of a combined vector, element (z, x) at combined_at + x 2^log_z + z. A piece is a job (jobs.wgsl), in whose three vectors the
// words of `Piece` follow the first workgroup. Blocks of 2^min(n, low_bits) points x share the high part of
// eq; team w takes blocks w, w + workgroups, .. and writes record record_at + w (records are 2 * 2^l_skip elements apart). A team is one
// workgroup, or 2^(log_z - 8) where one has fewer threads than there are z, each for 256 consecutive z. Thread (z, share) takes x = share,
// share + shares, ..; the shares meet in workgroup memory. One pass over Q, two products an element.
// Host reference: `tests::sums_over_the_hypercube`.
#import grid
#import jobs
#import reduce
#import stacked_reduction/eq_cube

#interface

const JOB_VECTORS: u32 = 3u;

struct Piece {
    first_workgroup: u32,
    combined_at: u32,
    first_block: u32,
    blocks: u32,
    workgroups: u32,
    log_z: u32,
    n: u32,
    rot: u32,
    record_at: u32,
}

fn piece_of(workgroup: u32) -> Piece {
    let at = job_vector(params.first_job, params.jobs_len, workgroup);
    let a = jobs[at];
    let b = jobs[at + 1u];
    return Piece(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, jobs[at + 2u].x);
}

const THREADS: u32 = 256u;
/// With eq and with the rotated eq.
const SUMS: u32 = 2u;
var<workgroup> sums: array<vec4<u32>, 512>;

struct BlockSum {
    eq: Ext,
    rot: Ext,
}

/// A share of the sums over a block that begins at `at`, before the factor of the block.
fn block_sum(piece: Piece, at: u32, share: u32, shares: u32) -> BlockSum {
    let bits = min(piece.n, params.low_bits);
    var sum = BlockSum(E_ZERO, E_ZERO);
    for (var x = share; x < (1u << bits); x += shares) {
        let q = combined[at + (x << piece.log_z)];
        sum.eq = e_add(sum.eq, e_mul(q, eq_low(bits, x)));
        if piece.rot != 0u && x != 0u {
            sum.rot = e_add(sum.rot, e_mul(q, eq_low(bits, x - 1u)));
        }
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let piece = piece_of(workgroup);
    let log_thread_z = min(piece.log_z, 8u);
    let log_slices = piece.log_z - log_thread_z;
    let linear = workgroup - piece.first_workgroup;
    let group = linear >> log_slices;
    if group >= piece.workgroups {
        return;
    }
    let rot = piece.rot != 0u;
    let first_z = (linear & ((1u << log_slices) - 1u)) << 8u;
    let z = first_z + (local & ((1u << log_thread_z) - 1u));
    let share = local >> log_thread_z;
    let shares = THREADS >> log_thread_z;
    let bits = min(piece.n, params.low_bits);
    let high_bits = piece.n - bits;
    let size = 1u << bits;
    var eq_sum = E_ZERO;
    var rot_sum = E_ZERO;
    for (var b = group; b < piece.blocks; b += piece.workgroups) {
        let at = piece.combined_at + (b << (bits + piece.log_z)) + z;
        let sum = block_sum(piece, at, share, shares);
        let block = piece.first_block + b;
        let high = eq_high(high_bits, block, params.low_bits);
        eq_sum = e_add(eq_sum, e_mul(sum.eq, high));
        if rot {
            rot_sum = e_add(rot_sum, e_mul(sum.rot, high));
            if share == 0u {
                // the block's first point turns back to the last one of the block before
                let before = eq_high(high_bits, (block - 1u) & ((1u << high_bits) - 1u), params.low_bits);
                rot_sum = e_add(rot_sum, e_mul(combined[at], e_mul(eq_low(bits, size - 1u), before)));
            }
        }
    }
    sums[local] = eq_sum;
    sums[THREADS + local] = rot_sum;
    reduce(local, THREADS, 1u << log_thread_z);
    if share == 0u {
        let record = (piece.record_at + group) << (params.l_skip + 1u);
        records[record + z] = sums[local];
        records[record + (1u << params.l_skip) + z] = sums[THREADS + local];
    }
}
