// The trace of KECCAKF: the accesses to memory of an instruction, the states before and behind. `keccakf_perm` has the permutation itself.
//
// One thread a row (openvm/row.wgsl), which permutes the state on its own. Host reference: `KeccakfOpChip`.
#import openvm/row
#import openvm/keccak/lanes

#interface

const RECORD: u32 = 105u;
const WIDTH: u32 = 561u;

/// Words of the state, of which each is an access.
const WORDS: u32 = 50u;

var<private> state: array<vec2<u32>, 25>;

fn fill(row: u32, record: u32) {
    let timestamp = records[record + 1u];
    let pointer = records[record + 3u];
    put_u32(row, 0u, records[record]);
    put(row, 1u, F_ONE);
    put_u32(row, 2u, timestamp);
    put_u32(row, 3u, records[record + 2u]);
    put_limbs(row, 4u, pointer);
    let high = (pointer >> 24u) << (32u - params.pointer_bits);
    count_bytes(high, high);
    put_access(row, 408u, records[record + 4u], timestamp);
    for (var i = 0u; i < WORDS; i++) {
        put_access(row, 411u + 3u * i, records[record + 5u + i], timestamp + 1u + i);
    }
    put_states(row, record + 5u + WORDS);
}

/// The state whose words begin at `at`, and what becomes of it.
fn put_states(row: u32, at: u32) {
    for (var lane = 0u; lane < LANES; lane++) {
        state[lane] = vec2<u32>(records[at + 2u * lane], records[at + 2u * lane + 1u]);
        put_lane(row, 8u + 8u * lane, state[lane]);
    }
    permute();
    for (var lane = 0u; lane < LANES; lane++) {
        put_lane(row, 208u + 8u * lane, state[lane]);
        count_pairs(state[lane].x);
        count_pairs(state[lane].y);
    }
}

fn put_lane(row: u32, column: u32, lane: vec2<u32>) {
    put_limbs(row, column, lane.x);
    put_limbs(row, column + 4u, lane.y);
}

fn count_pairs(word: u32) {
    count_bytes(limb(word, 0u), limb(word, 1u));
    count_bytes(limb(word, 2u), limb(word, 3u));
}

fn permute() {
    for (var round = 0u; round < ROUNDS; round++) {
        mix_columns();
        move_lanes();
        mix_rows();
        state[0] ^= ROUND_CONSTANTS[round];
    }
}

/// Theta.
fn mix_columns() {
    var parity: array<vec2<u32>, 5>;
    for (var lane = 0u; lane < LANES; lane++) {
        parity[lane % 5u] ^= state[lane];
    }
    for (var lane = 0u; lane < LANES; lane++) {
        state[lane] ^= parity[(lane + 4u) % 5u] ^ rotate(parity[(lane + 1u) % 5u], 1u);
    }
}

/// Rho and pi.
fn move_lanes() {
    var at = 1u;
    var lane = state[1];
    for (var i = 0u; i < 24u; i++) {
        at = moved_lane(at);
        let next = state[at];
        state[at] = rotate(lane, rotation(i));
        lane = next;
    }
}

/// Chi.
fn mix_rows() {
    for (var y = 0u; y < LANES; y += 5u) {
        let first = state[y];
        let second = state[y + 1u];
        for (var x = 0u; x < 3u; x++) {
            state[y + x] ^= ~state[y + x + 1u] & state[y + x + 2u];
        }
        state[y + 3u] ^= ~state[y + 4u] & first;
        state[y + 4u] ^= ~first & second;
    }
}
