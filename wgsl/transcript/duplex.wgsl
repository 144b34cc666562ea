// The duplex sponge for kernels of one workgroup (at least 32 threads) that observe and sample on their own: overwrite mode (upstream's
// DuplexSponge). A full rate permutes at once; a squeeze permutes when words were absorbed since the last permutation or the rate is used
// up, and gives words from the end of the rate. Every word goes to the tape, too.
//
//   duplex_open(..); { fill `message`; duplex_step(local, observe, sample); read `sampled` } ...; duplex_close(..)
//
// There is one permutation in the code, since code that runs for the first time takes longer to fetch than to execute (docs/performance.md).
// All threads of the workgroup call all of it in uniform control flow. The positions in the rate depend only on counts.
// A kernel that imports this declares `sponge: array<u32>` (16 words) and `tape: array<u32>`, both read_write, and
// `round_constants` (see poseidon2.wgsl); its entry point takes a DuplexThread.
//
// Where subgroups have 16 lanes or more (SUBGROUP16), 16 of them hold the state and permute it (poseidon2_lanes.wgsl); all subgroups do the same
// work, and the first one writes. Elsewhere the state is in workgroup memory, and 16 threads permute it, one word each, one barrier a round.
// Words are passed on through atomics: Metal's compiler may keep what a thread knows of plain ones (docs/metal.md).
// Host reference: upstream's DuplexSponge.
#import poseidon2_lanes

/// What is observed next.
var<workgroup> message: array<atomic<u32>, 20>;
/// What was sampled last.
var<workgroup> sampled: array<atomic<u32>, RATE>;

fn set_message_ext(element: u32, value: vec4<u32>) {
    let at = 4u * element;
    atomicStore(&message[at], value.x);
    atomicStore(&message[at + 1u], value.y);
    atomicStore(&message[at + 2u], value.z);
    atomicStore(&message[at + 3u], value.w);
}

fn sampled_ext(element: u32) -> vec4<u32> {
    let at = 4u * element;
    return vec4<u32>(
        atomicLoad(&sampled[at]),
        atomicLoad(&sampled[at + 1u]),
        atomicLoad(&sampled[at + 2u]),
        atomicLoad(&sampled[at + 3u]),
    );
}

var<private> duplex_at: u32;
var<private> duplex_left: u32;
var<private> duplex_tape: u32;

#if SUBGROUP16
/// What a thread is told of itself. The names are used for nothing else: where naga 30 zeroes workgroup memory, its Metal text takes the
/// member's name for the argument's, which differs when another thing has that name, too.
struct DuplexThread {
    @builtin(local_invocation_index) workgroup_lane: u32,
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
#else
struct DuplexThread {
    @builtin(local_invocation_index) workgroup_lane: u32,
}

var<workgroup> duplex_exchange: array<array<atomic<u32>, 16>, 2>;

fn duplex_exchanged(half: u32, i: u32) -> u32 {
    return atomicLoad(&duplex_exchange[half][i]);
}

/// The external matrix: row j of the circulant (2 3 1 1) times (the thread's own group + the sum of the four groups).
fn duplex_external(x: u32, lane: u32, half: u32) -> u32 {
    if lane < 16u {
        atomicStore(&duplex_exchange[half][lane], x);
    }
    workgroupBarrier();
    if lane >= 16u {
        return 0u;
    }
    var v: array<u32, 4>;
    for (var k = 0u; k < 4u; k++) {
        let j = (lane + k) & 3u;
        let sum = f_add(
            f_add(duplex_exchanged(half, j), duplex_exchanged(half, j + 4u)),
            f_add(duplex_exchanged(half, j + 8u), duplex_exchanged(half, j + 12u)),
        );
        v[k] = f_add(duplex_exchanged(half, (lane & 12u) | j), sum);
    }
    let pair = f_add(v[0], v[1]);
    return f_add(f_add(pair, f_add(v[2], v[3])), f_add(pair, v[1]));
}

/// The thread's entry of diag(-2, 1, 2, 1/2, 3, 4, -1/2, -3, -4, 1/2^8, 1/4, 1/8, 1/2^27, -1/2^8, -1/16, -1/2^27), times x.
fn duplex_scaled(x: u32, lane: u32) -> u32 {
    switch lane {
        case 1u: { return x; }
        case 2u: { return f_double(x); }
        case 3u: { return f_halve(x); }
        case 4u: { return f_add(f_double(x), x); }
        case 5u: { return f_double(f_double(x)); }
        case 6u: { return f_neg(f_halve(x)); }
        case 7u: { return f_neg(f_add(f_double(x), x)); }
        case 8u: { return f_neg(f_double(f_double(x))); }
        case 9u: { return f_div_2exp(x, 8u); }
        case 10u: { return f_div_2exp(x, 2u); }
        case 11u: { return f_div_2exp(x, 3u); }
        case 12u: { return f_div_2exp(x, 27u); }
        case 13u: { return f_neg(f_div_2exp(x, 8u)); }
        case 14u: { return f_neg(f_div_2exp(x, 4u)); }
        case 15u: { return f_neg(f_div_2exp(x, 27u)); }
        default: { return f_neg(f_double(x)); }
    }
}

fn duplex_internal(x: u32, lane: u32, half: u32, round: u32) -> u32 {
    if lane < 16u {
        atomicStore(&duplex_exchange[half][lane], x);
    }
    workgroupBarrier();
    if lane >= 16u {
        return 0u;
    }
    let s0 = p2_sbox(f_add(duplex_exchanged(half, 0u), round_constants[32u + round].x));
    var sum = s0;
    for (var k = 1u; k < 16u; k++) {
        sum = f_add(sum, duplex_exchanged(half, k));
    }
    return f_add(sum, duplex_scaled(select(x, s0, lane == 0u), lane));
}

var<workgroup> duplex_words: array<atomic<u32>, 16>;

fn duplex_load(thread: DuplexThread) {
    if thread.workgroup_lane < 16u {
        atomicStore(&duplex_words[thread.workgroup_lane], sponge[thread.workgroup_lane]);
    }
    workgroupBarrier();
}

/// Word i of the state.
fn duplex_state(i: u32) -> u32 {
    return atomicLoad(&duplex_words[i]);
}

/// Its word `local`.
fn duplex_own(local: u32) -> u32 {
    return atomicLoad(&duplex_words[local & 15u]);
}

/// The next `count` words of the state become those of the message from `read` on.
fn duplex_absorb(local: u32, read: u32, count: u32) {
    if local < count {
        atomicStore(&duplex_words[duplex_at + local], atomicLoad(&message[read + local]));
    }
}

/// The next `count` words are sampled, from `given` on, and written to the tape.
fn duplex_squeeze(local: u32, given: u32, count: u32, tape_at: u32) {
    if local < count {
        let word = atomicLoad(&duplex_words[duplex_left - 1u - local]);
        atomicStore(&sampled[given + local], word);
        tape[tape_at + local] = word;
    }
}

/// The 22 exchanges use both halves alternately: a half is only written after a barrier behind all reads of it.
fn duplex_permute(lane: u32) {
    workgroupBarrier();
    var half = 0u;
    var x = atomicLoad(&duplex_words[lane & 15u]);
    x = duplex_external(x, lane, half);
    for (var r = 0u; r < 8u; r++) {
        if r == 4u {
            for (var k = 0u; k < 13u; k++) {
                half ^= 1u;
                x = duplex_internal(x, lane, half, k);
            }
        }
        x = p2_sbox(f_add(x, round_constants[4u * r + ((lane & 15u) >> 2u)][lane & 3u]));
        half ^= 1u;
        x = duplex_external(x, lane, half);
    }
    if lane < 16u {
        atomicStore(&duplex_words[lane], x);
    }
    workgroupBarrier();
}
#endif

/// Continues the sponge in memory; `tape_at` is where its next word goes on the tape.
fn duplex_open(thread: DuplexThread, absorb_index: u32, sample_index: u32, tape_at: u32) {
    duplex_load(thread);
    duplex_at = absorb_index;
    duplex_left = sample_index;
    duplex_tape = tape_at;
}

/// Leaves the sponge in memory for the next kernel.
fn duplex_close(local: u32) {
    workgroupBarrier();
    if local < 16u {
        sponge[local] = duplex_own(local);
    }
}

/// Observes the first `observe_words` words of `message`, then samples `sample_words` words (at most RATE) into `sampled`, visible to all threads afterwards.
fn duplex_step(local: u32, observe_words: u32, sample_words: u32) {
#if SUBGROUP16
    // Uniform anyhow, but a compiler may not see it: where it cannot prove that all threads get to a shuffle, an H200 takes twice as long for it.
    let observe = subgroupBroadcastFirst(observe_words);
    let sample = subgroupBroadcastFirst(sample_words);
#else
    let observe = observe_words;
    let sample = sample_words;
#endif
    workgroupBarrier();
    if local < observe {
        tape[duplex_tape + local] = atomicLoad(&message[local]);
    }
    duplex_tape += observe;
    var read = 0u;
    var given = 0u;
    loop {
        var full = false;
        if read < observe {
            let taken = min(RATE - duplex_at, observe - read);
            duplex_absorb(local, read, taken);
            read += taken;
            duplex_at += taken;
            full = duplex_at == RATE;
        } else if given < sample {
            full = duplex_at != 0u || duplex_left == 0u;
            if !full {
                let taken = min(duplex_left, sample - given);
                duplex_squeeze(local, given, taken, duplex_tape + given);
                duplex_left -= taken;
                given += taken;
            }
        } else {
            break;
        }
        if full {
            duplex_permute(local);
            duplex_at = 0u;
            duplex_left = RATE;
        }
    }
    duplex_tape += sample;
    workgroupBarrier();
}
