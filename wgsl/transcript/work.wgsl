// A step of the duplex sponge with proof of work of few bits: absorb `absorb` words (at most 20) of `source` at `start`; find and absorb the
// smallest integer c < limit such that the word sampled next has its low `bits` bits 0; sample that word and `squeeze` (fewer than RATE) more. Logged
// at `tape_at` in this order.
//
// One workgroup, a candidate a thread and turn: expected are 1 + 2^bits / 128 turns. grind.wgsl finds witnesses of more bits, by the whole device.
// As there, one permutation decides. When there is no witness, 2^32 - 1 is absorbed, which the host's replay refuses.
// Host reference: upstream's DuplexSponge, the smallest witness for its `check_witness`.
#import transcript/duplex

#interface

const THREADS: u32 = 128u;

var<workgroup> smallest: atomic<u32>;

/// Words `first`.. of the state, with the candidate in its place.
fn with_candidate(first: u32, candidate: u32) -> vec4<u32> {
    let v = vec4<u32>(duplex_state(first), duplex_state(first + 1u), duplex_state(first + 2u), duplex_state(first + 3u));
    let at = vec4<u32>(first, first + 1u, first + 2u, first + 3u) == vec4<u32>(duplex_at);
    return select(v, vec4<u32>(candidate), at);
}

/// Whether the sponge samples a word with low bits 0 after observing c.
fn passes(c: u32) -> bool {
    let word = f_from_u32(c);
    let s = poseidon2(Poseidon2State(
        with_candidate(0u, word),
        with_candidate(4u, word),
        with_candidate(8u, word),
        with_candidate(12u, word),
    ));
    return (f_to_u32(s.b.w) & ((1u << params.bits) - 1u)) == 0u;
}

/// The smallest witness.
fn witness(local: u32) -> u32 {
    if local == 0u {
        atomicStore(&smallest, 0xffffffffu);
    }
    workgroupBarrier();
    var found = 0xffffffffu;
    for (var first = 0u; first < params.limit && found == 0xffffffffu; first += THREADS) {
        if passes(first + local) {
            atomicMin(&smallest, first + local);
        }
        workgroupBarrier();
        found = atomicLoad(&smallest);
        workgroupBarrier();
    }
    return found;
}

@compute @workgroup_size(THREADS)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_thread;
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    var observe = params.absorb;
    var sample = 0u;
    if local < observe {
        atomicStore(&message[local], source[params.start + local]);
    }
    for (var step = 0u; step < 2u; step++) {
        if step == 1u {
            let found = witness(local);
            if local == 0u {
                atomicStore(&message[local], f_from_u32(found));
            }
            observe = 1u;
            sample = 1u + params.squeeze;
        }
        duplex_step(local, observe, sample);
    }
    duplex_close(local);
}
