// The trace of the permutations of KECCAKF: 24 rows each, one a round, with the bits of what a round computes.
//
// The records are those of `keccakf_op`. A workgroup of 192 takes four permutations, 96 rows: 100 threads permute, a lane each, and keep the
// states of all rounds in workgroup memory. Then two threads a row write its columns, neighbours in neighbouring rows. Rows that pad
// are those of the state of zeros. Host reference: `KeccakfPermChip`, `p3_keccak_air::generate_trace_rows`.
#import grid
#import openvm/columns
#import openvm/keccak/lanes

#interface

const RECORD: u32 = 105u;
/// Where the state begins.
const STATE: u32 = 55u;

const PERMUTATIONS: u32 = 4u;
const ROWS: u32 = 96u;

const EXPORT: u32 = 24u;
const PREIMAGE: u32 = 25u;
const BEFORE: u32 = 125u;
/// From here on words of 64 bits: 5 of parities, 5 of what those become, 25 behind theta.
const WORDS: u32 = 225u;
const BEHIND: u32 = 2465u;
const FIRST_LANE: u32 = 2565u;
const TIMESTAMP: u32 = 2633u;

/// The states before each round, and that behind the last.
var<workgroup> states: array<vec2<u32>, 2500>;
/// Of the permutations, the lanes behind pi.
var<workgroup> moved: array<vec2<u32>, 100>;

/// Where the state of a permutation before a round lies.
fn state_of(permutation: u32, round: u32) -> u32 {
    return LANES * ((ROUNDS + 1u) * permutation + round);
}

fn parity(state: u32, x: u32) -> vec2<u32> {
    let at = state + x % 5u;
    return states[at] ^ states[at + 5u] ^ states[at + 10u] ^ states[at + 15u] ^ states[at + 20u];
}

/// What theta adds to the lanes of a column.
fn theta(state: u32, x: u32) -> vec2<u32> {
    return parity(state, x + 4u) ^ rotate(parity(state, x + 1u), 1u);
}

/// By how much a lane rotates.
fn rotation_of(lane: u32) -> u32 {
    var bits = 0u;
    var at = 1u;
    for (var i = 0u; i < 24u; i++) {
        if at == lane {
            bits = rotation(i);
        }
        at = moved_lane(at);
    }
    return bits;
}

/// The first word of the record of a permutation.
fn record_of(permutation: u32) -> u32 {
    return RECORD * permutation;
}

fn has_record(permutation: u32) -> bool {
    return ROUNDS * permutation < params.used;
}

/// Computes the states of the permutations from `first` on.
fn permute(first: u32, local: u32) {
    let permutation = local / LANES;
    let lane = local % LANES;
    let permutes = permutation < PERMUTATIONS;
    if permutes {
        var start = vec2<u32>(0u);
        if has_record(first + permutation) {
            let at = record_of(first + permutation) + STATE + 2u * lane;
            start = vec2<u32>(records[at], records[at + 1u]);
        }
        states[state_of(permutation, 0u) + lane] = start;
    }
    workgroupBarrier();
    let bits = rotation_of(lane);
    let place = LANES * permutation + moved_lane(lane);
    let x = lane % 5u;
    let y = LANES * permutation + lane - x;
    for (var round = 0u; round < ROUNDS; round++) {
        if permutes {
            let state = state_of(permutation, round);
            moved[place] = rotate(states[state + lane] ^ theta(state, x), bits);
        }
        workgroupBarrier();
        if permutes {
            var next = moved[y + x] ^ (~moved[y + (x + 1u) % 5u] & moved[y + (x + 2u) % 5u]);
            if lane == 0u {
                next ^= ROUND_CONSTANTS[round];
            }
            states[state_of(permutation, round + 1u) + lane] = next;
        }
        workgroupBarrier();
    }
}

fn put_quarters(row: u32, column: u32, lane: vec2<u32>) {
    put_u32(row, column, lane.x & 0xffffu);
    put_u32(row, column + 1u, lane.x >> 16u);
    put_u32(row, column + 2u, lane.y & 0xffffu);
    put_u32(row, column + 3u, lane.y >> 16u);
}

fn put_bits(row: u32, column: u32, lane: vec2<u32>) {
    if column + 64u <= params.first_column || column >= params.first_column + params.columns {
        return;
    }
    for (var i = 0u; i < 32u; i++) {
        put_bool(row, column + i, ((lane.x >> i) & 1u) != 0u);
        put_bool(row, column + 32u + i, ((lane.y >> i) & 1u) != 0u);
    }
}

/// One of the words of 64 bits that theta is about.
fn word(state: u32, i: u32) -> vec2<u32> {
    let x = i % 5u;
    if i < 5u {
        return parity(state, x);
    }
    if i < 10u {
        return parity(state, x) ^ theta(state, x);
    }
    return states[state + i - 10u] ^ theta(state, x);
}

/// Half of the columns of a row.
fn fill(row: u32, permutation: u32, at: u32, half: u32) {
    let round = at % ROUNDS;
    let preimage = state_of(at / ROUNDS, 0u);
    let before = state_of(at / ROUNDS, round);
    let behind = before + LANES;
    for (var lane = half; lane < LANES; lane += 2u) {
        put_quarters(row, PREIMAGE + 4u * lane, states[preimage + lane]);
        put_quarters(row, BEFORE + 4u * lane, states[before + lane]);
        if lane > 0u {
            put_quarters(row, BEHIND + 4u * lane, states[behind + lane]);
        }
    }
    for (var i = half; i < 35u; i += 2u) {
        put_bits(row, WORDS + 64u * i, word(before, i));
    }
    if half == 0u {
        let is_end = round == ROUNDS - 1u && has_record(permutation);
        for (var i = 0u; i < ROUNDS; i++) {
            put_bool(row, i, i == round);
        }
        put_bool(row, EXPORT, is_end);
        if is_end {
            put_u32(row, TIMESTAMP, records[record_of(permutation) + 1u]);
        } else {
            put(row, TIMESTAMP, 0u);
        }
    } else {
        // the first lane, without the round's constant as well
        let first = states[behind] ^ ROUND_CONSTANTS[round];
        put_quarters(row, BEHIND, first);
        put_bits(row, FIRST_LANE, first);
        put_quarters(row, FIRST_LANE + 64u, states[behind]);
    }
}

@compute @workgroup_size(192)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = linear_workgroup(workgroup_id, num_workgroups);
    permute(PERMUTATIONS * group, local);
    let at = local % ROWS;
    let row = ROWS * group + at;
    if row < params.rows {
        fill(params.first_row + row, PERMUTATIONS * group + at / ROUNDS, at, local / ROWS);
    }
}
