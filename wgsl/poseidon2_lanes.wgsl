// Poseidon2's permutation by 16 lanes of a subgroup, one word each: for few permutations, whose latency counts. On an H200 one takes 2.2 us
// instead of 9 for one thread, and the work of six.
//
// Lane i holds word i mod 16 and exchanges it by shuffles; every lane keeps word 0 of the internal rounds and the sum of the others, so that one
// S-box is all that a round waits for. Only for subgroups of 16 lanes or more (SUBGROUP16), which must get here as a whole: shuffles
// under a condition, or where a compiler cannot prove that all threads get to them, take an H200 twice as long.
// Host reference: p3_baby_bear::default_babybear_poseidon2_16.
#import poseidon2

#if SUBGROUP16
/// The external matrix on word i of 16, one a lane: the circulant (2 3 1 1) within fours, of x + the sum of the words four apart.
fn p2_lanes_external(x: u32, lane: u32) -> u32 {
    let far = f_add(subgroupShuffleXor(x, 8u), subgroupShuffleXor(x, 12u));
    let w0 = f_add(f_double(x), f_add(subgroupShuffleXor(x, 4u), far));
    let w1 = subgroupShuffle(w0, (lane & 0xfffffffcu) | ((lane + 1u) & 3u));
    let w3 = subgroupShuffle(w0, (lane & 0xfffffffcu) | ((lane + 3u) & 3u));
    let rest = f_add(w1, f_add(subgroupShuffleXor(w0, 2u), w3));
    return f_add(f_double(f_add(w0, w1)), rest);
}

/// The sum over 16 lanes.
fn p2_lanes_total(x: u32) -> u32 {
    let near = f_add(f_add(x, subgroupShuffleXor(x, 1u)), f_add(subgroupShuffleXor(x, 2u), subgroupShuffleXor(x, 3u)));
    let far = f_add(subgroupShuffleXor(near, 8u), subgroupShuffleXor(near, 12u));
    return f_add(f_add(near, subgroupShuffleXor(near, 4u)), far);
}

/// 15 in Montgomery form.
const P2_15: u32 = 0x77ffffe1u;

/// The internal rounds. With o the words but word 0 (zero in its lane), S their sum and u = sbox(s0 + c), a round is
/// s0' = S - u, t = S + u, o' = d o + t, S' = sum(d o) + 15 t: every lane keeps s0 and S, so that a round waits for one S-box and one
/// subtraction; the sum over the lanes has two rounds of time. Behind the last constant the table holds a zero.
fn p2_lanes_internal(x: u32, lane: u32, diagonal: u32) -> u32 {
    let first = (lane & 15u) == 0u;
    var o = select(x, 0u, first);
    var sum = p2_lanes_total(o);
    var s0 = f_add(subgroupShuffle(x, lane & 0xfffffff0u), round_constants[32].x);
    for (var r = 33u; r < 46u; r++) {
        let constant = round_constants[r].x;
        let scaled = f_mul(o, diagonal);
        let scaled_sum = p2_lanes_total(scaled);
        let u = p2_sbox(s0);
        s0 = f_sub(f_add(sum, constant), u);
        let t = f_add(sum, u);
        o = select(f_add(scaled, t), 0u, first);
        sum = f_add(scaled_sum, f_mul(t, P2_15));
    }
    return select(o, s0, first);
}

/// The lane's entry of the internal matrix' diagonal.
fn p2_lanes_diagonal(lane: u32) -> u32 {
    return round_constants[32u + (lane & 15u)].y;
}

/// Word `lane` mod 16 of the permuted state, from that word of the state; `lane` is the subgroup_invocation_id. Every 16 lanes permute a
/// state of their own.
fn p2_lanes(word: u32, lane: u32, diagonal: u32) -> u32 {
    let i = lane & 15u;
    var x = word;
    var constant = 0u;
    for (var r = 0u; r < 9u; r++) {
        if r == 5u {
            x = p2_lanes_internal(x, lane, diagonal);
        }
        if r > 0u {
            x = p2_sbox(f_add(x, constant));
        }
        // of the next round, on its way during this one
        constant = round_constants[min(4u * r, 28u) + (i >> 2u)][i & 3u];
        x = p2_lanes_external(x, lane);
    }
    return x;
}
#endif
