// The end of a round: its evaluations at 1 and 2, sum_(i < count) partials[2 i + e] for e = 0, 1, are observed, and a challenge is sampled.
//
// One workgroup, even threads for e = 0; duplex.wgsl writes all of it to the tape. 128 threads: see gkr/rounds.wgsl. Host reference: `tests::cube_rounds`.
#import field/ext
#import transcript/duplex

struct Params {
    count: u32,
    absorb_index: u32,
    sample_index: u32,
    tape_at: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sponge: array<u32>;
@group(0) @binding(2) var<storage, read_write> tape: array<u32>;
@group(0) @binding(3) var<storage, read> round_constants: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> sums: array<vec4<u32>, 128>;

@compute @workgroup_size(128)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_lane;
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    var sum = E_ZERO;
    for (var i = local; i < 2u * params.count; i += 128u) {
        sum = e_add(sum, partials[i]);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var s = 64u; s >= 2u; s >>= 1u) {
        if local < s {
            sums[local] = e_add(sums[local], sums[local + s]);
        }
        workgroupBarrier();
    }
    if local < 2u {
        set_message_ext(local, sums[local]);
    }
    duplex_step(local, 8u, 4u);
    duplex_close(local);
}
