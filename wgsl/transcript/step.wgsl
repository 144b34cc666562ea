// The duplex sponge: absorb `absorb` words of `source` at `start`, then squeeze `squeeze` words; log all of them at `log_at`.
//
// Overwrite mode, rate 8 (upstream's DuplexSponge): a full rate permutes at once; a squeeze permutes when words were absorbed since the
// last permutation or the rate is used up, and gives words from the end of the rate. The positions in the rate depend only on counts,
// so the host passes them.
//
// One workgroup of 16 threads, one state word each. The permutation exchanges words through workgroup memory, ping-pong between two
// arrays, so that each of its 22 exchanges costs one barrier. The S-box of word 0 in the internal rounds is computed by every thread.
// Measured in this form on an H200: about 3 us a permutation (one thread: 8). Host reference: upstream's DuplexSponge.
#import field/baby_bear

struct Params {
    start: u32,
    absorb: u32,
    squeeze: u32,
    log_at: u32,
    absorb_index: u32,
    sample_index: u32,
    // the words of `source` are integers to be brought into Montgomery form first (a proof-of-work witness)
    integers: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> sponge: array<u32>;
@group(0) @binding(2) var<storage, read_write> transcript_log: array<u32>;
@group(0) @binding(3) var<storage, read> round_constants: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> exchange: array<array<u32, 16>, 2>;

fn sbox(x: u32) -> u32 {
    let x2 = f_mul(x, x);
    let x3 = f_mul(x2, x);
    return f_mul(x3, f_mul(x2, x2));
}

/// Row `j` of the circulant (2 3 1 1) times (v[j], v[j+1], v[j+2], v[j+3]) (indices mod 4).
fn row(own: u32, next: u32, third: u32, fourth: u32) -> u32 {
    let pair = f_add(own, next);
    return f_add(f_add(pair, f_add(third, fourth)), f_add(pair, next));
}

/// The external matrix: row j of (the thread's own group + the sum of the four groups).
fn external_layer(x: u32, lane: u32, half: u32) -> u32 {
    exchange[half][lane] = x;
    workgroupBarrier();
    var v: array<u32, 4>;
    for (var k = 0u; k < 4u; k++) {
        let j = (lane + k) & 3u;
        let group = exchange[half][(lane & 12u) | j];
        let sum = f_add(f_add(exchange[half][j], exchange[half][j + 4u]), f_add(exchange[half][j + 8u], exchange[half][j + 12u]));
        v[k] = f_add(group, sum);
    }
    return row(v[0], v[1], v[2], v[3]);
}

/// The thread's entry of 1 + diag(..) without the 1, times x.
fn diagonal(x: u32, lane: u32) -> u32 {
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

fn internal_round(x: u32, lane: u32, half: u32, round: u32) -> u32 {
    exchange[half][lane] = x;
    workgroupBarrier();
    let s0 = sbox(f_add(exchange[half][0], round_constants[32u + round].x));
    var sum = s0;
    for (var k = 1u; k < 16u; k++) {
        sum = f_add(sum, exchange[half][k]);
    }
    return f_add(sum, diagonal(select(x, s0, lane == 0u), lane));
}

/// The permutation of the state that the 16 threads hold. Its 22 exchanges use both halves alternately from half 0 and end with half 1,
/// so the next call may begin right away: a half is only written after a barrier behind all reads of it.
fn permute(state: u32, lane: u32) -> u32 {
    var half = 0u;
    var x = external_layer(state, lane, half);
    for (var r = 0u; r < 8u; r++) {
        if r == 4u {
            for (var k = 0u; k < 13u; k++) {
                half ^= 1u;
                x = internal_round(x, lane, half, k);
            }
        }
        x = sbox(f_add(x, round_constants[r * 4u + (lane >> 2u)][lane & 3u]));
        half ^= 1u;
        x = external_layer(x, lane, half);
    }
    return x;
}

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) lane: u32) {
    var x = sponge[lane];
    var at = params.absorb_index;
    var left = params.sample_index;
    var read = 0u;
    while read < params.absorb {
        let count = min(8u - at, params.absorb - read);
        if lane >= at && lane < at + count {
            let k = read + lane - at;
            var word = source[params.start + k];
            if params.integers != 0u {
                word = f_from_u32(word);
            }
            transcript_log[params.log_at + k] = word;
            x = word;
        }
        read += count;
        at += count;
        if at == 8u {
            x = permute(x, lane);
            at = 0u;
            left = 8u;
        }
    }
    var given = 0u;
    while given < params.squeeze {
        if at != 0u || left == 0u {
            x = permute(x, lane);
            at = 0u;
            left = 8u;
        }
        let count = min(left, params.squeeze - given);
        if lane < left && lane >= left - count {
            transcript_log[params.log_at + params.absorb + given + (left - 1u - lane)] = x;
        }
        left -= count;
        given += count;
    }
    sponge[lane] = x;
}
