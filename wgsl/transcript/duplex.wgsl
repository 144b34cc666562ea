// The duplex sponge for kernels of one workgroup (at least 32 threads) that observe and sample on their own: overwrite mode, rate 8 (upstream's
// DuplexSponge). A full rate permutes at once; a squeeze permutes when words were absorbed since the last permutation or the rate is used
// up, and gives words from the end of the rate. Every word goes to the log, too.
//
//   duplex_open(..); { fill `message`; duplex_observe(local, lane, words); duplex_sample(local, lane, words); read `sampled` } ...; duplex_close(..)
//
// All threads of the workgroup call all of it in uniform control flow. The positions in the rate depend only on counts.
// A kernel that imports this declares `sponge: array<u32>` (16 words) and `transcript_log: array<u32>`, both read_write, and
// `round_constants` (see poseidon2.wgsl). `lane` is duplex_lane(subgroup_id, subgroup_invocation_id) with subgroups, else the thread's index.
//
// The permutation with subgroups: 4 lanes of the first one hold a vec4 each and exchange them by shuffles; word 0 of the internal rounds
// is kept by every lane, and the sum of the others is carried along, so that one S-box is all that a round waits for. Without: 16 threads,
// one word each, exchange through workgroup memory, one barrier a round. Host reference: upstream's DuplexSponge.
#import poseidon2

/// What is observed next.
var<workgroup> message: array<u32, 20>;
/// What was sampled last.
var<workgroup> sampled: array<u32, 8>;
var<workgroup> duplex_words: array<u32, 16>;
var<private> duplex_at: u32;
var<private> duplex_left: u32;
var<private> duplex_log: u32;

#if SUBGROUP
const DUPLEX_IDLE: u32 = 0xffffffffu;

fn duplex_lane(subgroup: u32, subgroup_lane: u32) -> u32 {
    return select(DUPLEX_IDLE, subgroup_lane, subgroup == 0u);
}

/// The sum over a quad of lanes.
fn duplex_quad_sum(x: vec4<u32>) -> vec4<u32> {
    let pair = f_add4(x, subgroupShuffleXor(x, 1u));
    return f_add4(pair, subgroupShuffleXor(pair, 2u));
}

fn duplex_external(x: vec4<u32>) -> vec4<u32> {
    let y = p2_mat4(x);
    return f_add4(y, duplex_quad_sum(y));
}

fn duplex_quad_total(x: vec4<u32>) -> u32 {
    let sum = f_add(f_add(x.x, x.y), f_add(x.z, x.w));
    let pair = f_add(sum, subgroupShuffleXor(sum, 1u));
    return f_add(pair, subgroupShuffleXor(pair, 2u));
}

/// The lane's part of diag(-2, 1, 2, 1/2, 3, 4, -1/2, -3, -4, 1/2^8, 1/4, 1/8, 1/2^27, -1/2^8, -1/16, -1/2^27).
fn duplex_diagonal(i: u32) -> vec4<u32> {
    switch i {
        case 0u: { return vec4<u32>(0x58000005u, 0x0ffffffeu, 0x1ffffffcu, 0x07ffffffu); }
        case 1u: { return vec4<u32>(0x2ffffffau, 0x3ffffff8u, 0x70000002u, 0x48000007u); }
        case 2u: { return vec4<u32>(0x38000009u, 0x01000000u, 0x40000000u, 0x20000000u); }
        default: { return vec4<u32>(0x00000020u, 0x77000001u, 0x68000001u, 0x77ffffe1u); }
    }
}

/// 15 and -2 in Montgomery form.
const DUPLEX_15: u32 = 0x77ffffe1u;
const DUPLEX_D0: u32 = 0x58000005u;

/// The internal rounds on x; with o the words but word 0 and S their sum, a round is s0' = D0 u + t, o' = d o + t, S' = sum(d o) + 15 t
/// for u = sbox(s0 + c), t = u + S.
fn duplex_internal(x: vec4<u32>, i: u32) -> vec4<u32> {
    let diagonal = duplex_diagonal(i);
    let others = vec4<u32>(select(0xffffffffu, 0u, i == 0u), 0xffffffffu, 0xffffffffu, 0xffffffffu);
    var s0 = subgroupShuffle(x.x, 0u);
    var o = x & others;
    var sum = duplex_quad_total(o);
    for (var r = 0u; r < 13u; r++) {
        let scaled = vec4<u32>(
            f_mul(o.x, diagonal.x), f_mul(o.y, diagonal.y), f_mul(o.z, diagonal.z), f_mul(o.w, diagonal.w),
        );
        let scaled_sum = duplex_quad_total(scaled);
        let u = p2_sbox(f_add(s0, round_constants[32u + r].x));
        let t = f_add(sum, u);
        s0 = f_add(f_mul(u, DUPLEX_D0), t);
        o = f_add4(scaled, vec4<u32>(t) & others);
        sum = f_add(scaled_sum, f_mul(t, DUPLEX_15));
    }
    return select(o, vec4<u32>(s0, o.yzw), vec4<bool>(i == 0u));
}

fn duplex_permute(lane: u32) {
    workgroupBarrier();
    if lane != DUPLEX_IDLE {
        let i = lane & 3u;
        let at = 4u * i;
        // the other lanes take part in the shuffles only: no barrier is between what they would read and what is written below
        var x = vec4<u32>();
        if lane < 4u {
            x = vec4<u32>(duplex_words[at], duplex_words[at + 1u], duplex_words[at + 2u], duplex_words[at + 3u]);
        }
        x = duplex_external(x);
        for (var r = 0u; r < 8u; r++) {
            if r == 4u {
                x = duplex_internal(x, i);
            }
            x = duplex_external(p2_sbox4(f_add4(x, round_constants[4u * r + i])));
        }
        if lane < 4u {
            duplex_words[at] = x.x;
            duplex_words[at + 1u] = x.y;
            duplex_words[at + 2u] = x.z;
            duplex_words[at + 3u] = x.w;
        }
    }
    workgroupBarrier();
}
#else
var<workgroup> duplex_exchange: array<array<u32, 16>, 2>;

/// The external matrix: row j of the circulant (2 3 1 1) times (the thread's own group + the sum of the four groups).
fn duplex_external(x: u32, lane: u32, half: u32) -> u32 {
    if lane < 16u {
        duplex_exchange[half][lane] = x;
    }
    workgroupBarrier();
    if lane >= 16u {
        return 0u;
    }
    var v: array<u32, 4>;
    for (var k = 0u; k < 4u; k++) {
        let j = (lane + k) & 3u;
        let sum = f_add(
            f_add(duplex_exchange[half][j], duplex_exchange[half][j + 4u]),
            f_add(duplex_exchange[half][j + 8u], duplex_exchange[half][j + 12u]),
        );
        v[k] = f_add(duplex_exchange[half][(lane & 12u) | j], sum);
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
        duplex_exchange[half][lane] = x;
    }
    workgroupBarrier();
    if lane >= 16u {
        return 0u;
    }
    let s0 = p2_sbox(f_add(duplex_exchange[half][0], round_constants[32u + round].x));
    var sum = s0;
    for (var k = 1u; k < 16u; k++) {
        sum = f_add(sum, duplex_exchange[half][k]);
    }
    return f_add(sum, duplex_scaled(select(x, s0, lane == 0u), lane));
}

/// The 22 exchanges use both halves alternately: a half is only written after a barrier behind all reads of it.
fn duplex_permute(lane: u32) {
    workgroupBarrier();
    var half = 0u;
    var x = duplex_words[lane & 15u];
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
        duplex_words[lane] = x;
    }
    workgroupBarrier();
}
#endif

/// Continues the sponge in memory; `log_at` is where its next word goes in the log.
fn duplex_open(local: u32, absorb_index: u32, sample_index: u32, log_at: u32) {
    if local < 16u {
        duplex_words[local] = sponge[local];
    }
    duplex_at = absorb_index;
    duplex_left = sample_index;
    duplex_log = log_at;
    workgroupBarrier();
}

/// Leaves the sponge in memory for the next kernel.
fn duplex_close(local: u32) {
    workgroupBarrier();
    if local < 16u {
        sponge[local] = duplex_words[local];
    }
}

/// Observes the first `count` words of `message`.
fn duplex_observe(local: u32, lane: u32, count: u32) {
    workgroupBarrier();
    var read = 0u;
    while read < count {
        let taken = min(8u - duplex_at, count - read);
        if local < taken {
            let word = message[read + local];
            duplex_words[duplex_at + local] = word;
            transcript_log[duplex_log + read + local] = word;
        }
        read += taken;
        duplex_at += taken;
        if duplex_at == 8u {
            duplex_permute(lane);
            duplex_at = 0u;
            duplex_left = 8u;
        }
    }
    duplex_log += count;
}

/// Samples `count` words (at most 8) into `sampled`, visible to all threads afterwards.
fn duplex_sample(local: u32, lane: u32, count: u32) {
    var given = 0u;
    while given < count {
        if duplex_at != 0u || duplex_left == 0u {
            duplex_permute(lane);
            duplex_at = 0u;
            duplex_left = 8u;
        }
        let taken = min(duplex_left, count - given);
        if local < taken {
            let word = duplex_words[duplex_left - 1u - local];
            sampled[given + local] = word;
            transcript_log[duplex_log + given + local] = word;
        }
        duplex_left -= taken;
        given += taken;
    }
    duplex_log += count;
    workgroupBarrier();
}
