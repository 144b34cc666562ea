// The end of a round: its evaluations at 1 and 2, sum_(i < count) partials[2 i + e] for e = 0, 1, are observed, and a challenge is sampled.
//
// One workgroup, even threads for e = 0; duplex.wgsl logs all of it. 128 threads: see gkr/rounds.wgsl. Host reference: `tests::cube_rounds`.
#import reduce
#import transcript/duplex

#interface

const THREADS: u32 = 128u;
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_thread;
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    var sum = E_ZERO;
    for (var i = local; i < 2u * params.count; i += THREADS) {
        sum = e_add(sum, partials[i]);
    }
    sums[local] = sum;
    reduce(local, THREADS, 2u);
    if local < 2u {
        set_message_ext(local, sums[local]);
    }
    duplex_step(local, 8u, 4u);
    duplex_close(local);
}
