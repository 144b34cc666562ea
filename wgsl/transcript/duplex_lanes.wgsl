// The state of the duplex sponge where subgroups have 16 lanes or more: 16 of them hold it, a word each, and permute it
// (poseidon2_lanes.wgsl). All subgroups do the same work, and the first one writes.
//
// One of two with the interface that transcript/duplex.wgsl lists; the other is transcript/duplex_threads.wgsl.
#import poseidon2_lanes

struct DuplexThread {
    @builtin(local_invocation_index) workgroup_thread: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
}

var<private> duplex_lane: P2Lane;
/// The lane's word of the state, in every subgroup.
var<private> duplex_word: u32;

fn duplex_load(thread: DuplexThread) {
    duplex_lane = p2_lane(thread.subgroup_lane);
    duplex_word = sponge[thread.subgroup_lane & 15u];
}

/// Word i of the state.
fn duplex_state(i: u32) -> u32 {
    return subgroupShuffle(duplex_word, i);
}

/// Its word `local`.
fn duplex_own(local: u32) -> u32 {
    return duplex_word;
}

/// The next `count` words of the state become those of the message from `read` on.
fn duplex_absorb(local: u32, read: u32, count: u32) {
    let i = (duplex_lane.lane & 15u) - duplex_at;
    if i < count {
        duplex_word = atomicLoad(&message[read + i]);
    }
}

/// The next `count` words are sampled, from `given` on, and written to the tape.
fn duplex_squeeze(local: u32, given: u32, count: u32, tape_at: u32) {
    let i = duplex_left - 1u - local;
    if local < duplex_left && i < count {
        atomicStore(&sampled[given + i], duplex_word);
        tape[tape_at + i] = duplex_word;
    }
}

fn duplex_permute(local: u32) {
    duplex_word = p2_lanes(duplex_word, duplex_lane);
}

/// Uniform anyhow, but a compiler may not see it: where it cannot prove that all threads get to a shuffle, an H200 takes twice as long for it.
fn duplex_uniform(x: u32) -> u32 {
    return subgroupBroadcastFirst(x);
}
