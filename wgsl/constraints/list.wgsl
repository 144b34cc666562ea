// Work lists: what a workgroup that takes an item of one evaluates, and with which tables.
//
// Item `slot`, list[params.items + slot]: job, chunk, first row (lines in the MLE rounds), how many.
// Job j, two vectors from list[params.jobs + 2 j] on (kernels::constraints::list::Job): where the program's records begin, where the AIR's
// constants and logup weights do, where its tile does; its stride (over EF elements from column to column, over F columns), the weight of its
// first row, flags, points. With EMIT (kernels::constraints::list_emit::EmitJob) three vectors: where the AIR's offsets begin stands for the
// weight of the first row.
// A kernel that imports this has the interface of kernels::constraints::list and, without EMIT, declares ITEM_VALUES, the most values that the
// threads of an item have. THREADS is the size of its workgroups.
#import field/ext

const THREADS: u32 = 64u;

struct Job {
    records_at: u32,
    constants_at: u32,
    weights_at: u32,
    tile_at: u32,
    stride: u32,
    eq_at: u32,
    flags: u32,
    points: u32,
}

struct Item {
    chunk: u32,
    first: u32,
    count: u32,
}

/// Weights are powers of lambda, else the AIR's logup weights.
const JOB_LAMBDA: u32 = 1u;
/// The tile has one row.
const JOB_LAST: u32 = 2u;
/// The program has two accumulators.
const JOB_TWO: u32 = 4u;

var<private> job: Job;

#if EMIT
/// Height, lift and norm of the trace.
var<private> trace: vec4<u32>;
const JOB_VECTORS: u32 = 3u;
#else
const JOB_VECTORS: u32 = 2u;
#endif

fn job_is(flag: u32) -> bool {
    return (job.flags & flag) != 0u;
}

/// Whether accumulator a carries a result.
fn has_accumulator(a: u32) -> bool {
    return a == 0u || job_is(JOB_TWO);
}

fn choose_item(slot: u32) -> Item {
    let item = list[params.items + slot];
    let at = params.jobs + JOB_VECTORS * item.x;
    let a = list[at];
    let b = list[at + 1u];
    job = Job(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w);
#if EMIT
    trace = list[at + 2u];
#endif
    return Item(item.y, item.z, item.w);
}

fn constant(i: u32) -> u32 {
    return constants[job.constants_at + i];
}

fn weight(k: u32) -> Ext {
#if EMIT
    return logup[job.weights_at + k];
#else
    if job_is(JOB_LAMBDA) {
        return lambda[k];
    }
    return logup[job.weights_at + k];
#endif
}

fn record(k: u32) -> Record {
    return records[job.records_at + k];
}

#if EMIT
#else
/// What the threads of an item have for each point: that of point p at p, p + points, ..
var<workgroup> item_values: array<vec4<u32>, ITEM_VALUES>;

/// Adds up the first `count` values, point by point, and stores the sums as accumulator a if the program has it (a slot has room for no other).
fn store_item(slot: u32, a: u32, local: u32, count: u32) {
    workgroupBarrier();
    if has_accumulator(a) {
        for (var p = local; p < job.points; p += THREADS) {
            var sum = E_ZERO;
            for (var i = p; i < count; i += job.points) {
                sum = e_add(sum, item_values[i]);
            }
            partials[slot * params.slot_len + a * job.points + p] = sum;
        }
    }
    workgroupBarrier();
}
#endif
