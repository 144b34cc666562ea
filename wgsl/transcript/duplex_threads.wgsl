// The state of the duplex sponge in workgroup memory, where subgroups have fewer than 16 lanes or are not there: 16 threads permute it, one
// word each, one barrier a round.
//
// One of two with the interface that transcript/duplex.wgsl lists; the other is transcript/duplex_lanes.wgsl.
#import poseidon2

struct DuplexThread {
    @builtin(local_invocation_index) workgroup_thread: u32,
}

var<workgroup> duplex_exchange: array<array<atomic<u32>, 16>, 2>;

fn duplex_exchanged(half: u32, i: u32) -> u32 {
    return atomicLoad(&duplex_exchange[half][i]);
}

/// The external matrix: row j of the circulant (2 3 1 1) times (the thread's own group + the sum of the four groups).
fn duplex_external(x: u32, local: u32, half: u32) -> u32 {
    if local < 16u {
        atomicStore(&duplex_exchange[half][local], x);
    }
    workgroupBarrier();
    if local >= 16u {
        return 0u;
    }
    var v: array<u32, 4>;
    for (var k = 0u; k < 4u; k++) {
        let j = (local + k) & 3u;
        let sum = f_add(
            f_add(duplex_exchanged(half, j), duplex_exchanged(half, j + 4u)),
            f_add(duplex_exchanged(half, j + 8u), duplex_exchanged(half, j + 12u)),
        );
        v[k] = f_add(duplex_exchanged(half, (local & 12u) | j), sum);
    }
    let pair = f_add(v[0], v[1]);
    return f_add(f_add(pair, f_add(v[2], v[3])), f_add(pair, v[1]));
}

/// The thread's entry of diag(-2, 1, 2, 1/2, 3, 4, -1/2, -3, -4, 1/2^8, 1/4, 1/8, 1/2^27, -1/2^8, -1/16, -1/2^27), times x.
fn duplex_scaled(x: u32, local: u32) -> u32 {
    switch local {
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

fn duplex_internal(x: u32, local: u32, half: u32, round: u32) -> u32 {
    if local < 16u {
        atomicStore(&duplex_exchange[half][local], x);
    }
    workgroupBarrier();
    if local >= 16u {
        return 0u;
    }
    let s0 = p2_sbox(f_add(duplex_exchanged(half, 0u), round_constants[32u + round].x));
    var sum = s0;
    for (var k = 1u; k < 16u; k++) {
        sum = f_add(sum, duplex_exchanged(half, k));
    }
    return f_add(sum, duplex_scaled(select(x, s0, local == 0u), local));
}

var<workgroup> duplex_words: array<atomic<u32>, 16>;

fn duplex_load(thread: DuplexThread) {
    if thread.workgroup_thread < 16u {
        atomicStore(&duplex_words[thread.workgroup_thread], sponge[thread.workgroup_thread]);
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
fn duplex_permute(local: u32) {
    workgroupBarrier();
    var half = 0u;
    var x = atomicLoad(&duplex_words[local & 15u]);
    x = duplex_external(x, local, half);
    for (var r = 0u; r < 8u; r++) {
        if r == 4u {
            for (var k = 0u; k < 13u; k++) {
                half ^= 1u;
                x = duplex_internal(x, local, half, k);
            }
        }
        x = p2_sbox(f_add(x, round_constants[4u * r + ((local & 15u) >> 2u)][local & 3u]));
        half ^= 1u;
        x = duplex_external(x, local, half);
    }
    if local < 16u {
        atomicStore(&duplex_words[local], x);
    }
    workgroupBarrier();
}

fn duplex_uniform(x: u32) -> u32 {
    return x;
}
