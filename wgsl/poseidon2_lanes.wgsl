// Poseidon2's permutation by 16 lanes of a subgroup, one word each: for few permutations, whose latency counts. On an H200 one takes 2 to
// 3 us instead of 9 by one thread, and the work of six.
//
// Lane i holds word i mod 16 and exchanges it by shuffles; every lane keeps word 0 of the internal rounds, so that one S-box is all that a
// round waits for. Only for subgroups of 16 lanes or more (SUBGROUP16), which must get here as a whole: shuffles
// under a condition, or where a compiler cannot prove that all threads get to them, take an H200 twice as long.
// Host reference: p3_baby_bear::default_babybear_poseidon2_16.
#import poseidon2

#if SUBGROUP16
/// A lane and its part of the constants.
struct P2Lane {
    /// The subgroup_invocation_id.
    lane: u32,
    /// d_i, the lane's entry of the internal matrix' diagonal; that of word 0 as 0.
    diagonal: u32,
    /// sum_j d_j^i.
    power_sum: u32,
    /// d_j^i of words j = i ^ 0, i ^ 1, ..
    powers_0: vec4<u32>,
    powers_4: vec4<u32>,
    powers_8: vec4<u32>,
    powers_12: vec4<u32>,
}

/// Loaded once a kernel.
fn p2_lane(lane: u32) -> P2Lane {
    let i = lane & 15u;
    let row = round_constants[32u + i];
    let at = 48u + 4u * i;
    return P2Lane(
        lane,
        row.y,
        row.z,
        round_constants[at],
        round_constants[at + 1u],
        round_constants[at + 2u],
        round_constants[at + 3u],
    );
}

/// The external matrix on word i of 16, one a lane: the circulant (2 3 1 1) within fours, of x + the sum of the words four apart.
fn p2_lanes_external(x: u32, lane: u32) -> u32 {
    let far = f_add(subgroupShuffleXor(x, 8u), subgroupShuffleXor(x, 12u));
    let w0 = f_add(f_double(x), f_add(subgroupShuffleXor(x, 4u), far));
    let w1 = subgroupShuffle(w0, (lane & 0xfffffffcu) | ((lane + 1u) & 3u));
    let w3 = subgroupShuffle(w0, (lane & 0xfffffffcu) | ((lane + 3u) & 3u));
    let rest = f_add(w1, f_add(subgroupShuffleXor(w0, 2u), w3));
    return f_add(f_double(f_add(w0, w1)), rest);
}

/// Words k .. k + 3 bits away, for k a multiple of 4: lane i gets words i ^ k, i ^ (k + 1), ..
fn p2_lanes_four(x: u32, k: u32) -> vec4<u32> {
    return vec4<u32>(
        subgroupShuffleXor(x, k),
        subgroupShuffleXor(x, k + 1u),
        subgroupShuffleXor(x, k + 2u),
        subgroupShuffleXor(x, k + 3u),
    );
}

/// The internal rounds. With o the words but word 0, S_r their sum before round r, u = sbox(s0 + c) and t = S_r + u, a round is
/// s0' = S_r - u, o' = d o + t. So S_r = sum_i d_i^r o_i + sum_{k < r} t_k sum_i d_i^(r - 1 - k), o as it was at first: lane r makes S_r ready
/// from a product with powers of d and from what each round adds, and every lane keeps s0.
///
/// What a round adds to o and the sums is taken up in the next one, beside its S-box: lanes issue in order, so that a round takes one S-box
/// and one subtraction only where nothing else waits for them before it ends. Behind the last constant the table holds a zero.
fn p2_lanes_internal(x: u32, l: P2Lane) -> u32 {
    let i = l.lane & 15u;
    let group = l.lane & 0xfffffff0u;
    let before = group | ((l.lane + 15u) & 15u);
    let sum_0 = f_add(f_dot4(l.powers_0, p2_lanes_four(x, 0u)), f_dot4(l.powers_4, p2_lanes_four(x, 4u)));
    let sum_8 = f_add(f_dot4(l.powers_8, p2_lanes_four(x, 8u)), f_dot4(l.powers_12, p2_lanes_four(x, 12u)));
    var sum = f_add(sum_0, sum_8);
    // sum_j d_j^(i - r)
    var power_sum = l.power_sum;
    var scaled = x;
    var t = 0u;
    var s0 = f_add(subgroupShuffle(x, group), round_constants[32].x);
    for (var r = 0u; r < 13u; r++) {
        scaled = f_mul(f_add(scaled, t), l.diagonal);
        sum = f_add(sum, f_mul(t, power_sum));
        power_sum = subgroupShuffle(power_sum, before);
        let sum_r = subgroupShuffle(sum, group | r);
        let u = p2_sbox(s0);
        s0 = f_sub(f_add(sum_r, round_constants[33u + r].x), u);
        t = f_add(sum_r, u);
    }
    return select(f_add(scaled, t), s0, i == 0u);
}

/// Word `lane` mod 16 of the permuted state, from that word of the state. Every 16 lanes permute a state of their own.
fn p2_lanes(word: u32, l: P2Lane) -> u32 {
    let i = l.lane & 15u;
    var x = word;
    var constant = 0u;
    for (var r = 0u; r < 9u; r++) {
        if r == 5u {
            x = p2_lanes_internal(x, l);
        }
        if r > 0u {
            x = p2_sbox(f_add(x, constant));
        }
        // of the next round, on its way during this one
        constant = round_constants[min(4u * r, 28u) + (i >> 2u)][i & 3u];
        x = p2_lanes_external(x, l.lane);
    }
    return x;
}
#endif
