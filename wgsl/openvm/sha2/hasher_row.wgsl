// The rows of a compression: four rounds each, then the digest's, and the rows that pad.
//
// A thread does the rounds of its block up to those of its row. What constraints across two rows ask of cells that nothing else defines
// is in `hasher_links`. Host reference: `Sha2BlockHasherChip`, `Sha2BlockHasherFillerHelper`.
#import grid
#import openvm/columns
#import openvm/sha2/record
#import openvm/sha2/hasher_links

const THREADS: u32 = 256u;
#import openvm/counts

const ROWS: u32 = ROUND_ROWS + 1u;
/// 16 bits each.
const HALVES: u32 = WORD_BITS / 16u;

const ROW_INDEX: u32 = 4u;
const BLOCK: u32 = ROW_INDEX + COORDINATES;
const A: u32 = BLOCK + 1u;
const E: u32 = A + 4u * WORD_BITS;
const CARRY_A: u32 = E + 4u * WORD_BITS;
const CARRY_E: u32 = CARRY_A + 4u * HALVES;
const W_3: u32 = CARRY_E + 4u * HALVES;
const INTERMED_4: u32 = W_3 + 3u * HALVES;
const INTERMED_8: u32 = INTERMED_4 + 4u * HALVES;
const INTERMED_12: u32 = INTERMED_8 + 4u * HALVES;
const SCHEDULE: u32 = INTERMED_12 + 4u * HALVES;
const SCHEDULE_CARRY: u32 = SCHEDULE + 4u * WORD_BITS;
const WIDTH: u32 = SCHEDULE_CARRY + 8u * HALVES;
/// In a digest row, in the place of the schedule.
const FINAL_HASH: u32 = SCHEDULE;
const PREVIOUS_HASH: u32 = FINAL_HASH + 8u * (WORD_BITS / 8u);
const END_OF_DIGEST: u32 = PREVIOUS_HASH + 8u * HALVES;

/// The schedule's words of the last rounds, round t's at t mod 32.
var<private> w: array<Word, 32>;
/// What is new in the state of each round, that of round t at t mod 8; the words of a block's first state are those of rounds -4 to -1.
var<private> a: array<Word, 8>;
var<private> e: array<Word, 8>;

fn big_sigma(x: Word, by: vec3<u32>) -> Word {
    return rotate(x, by.x) ^ rotate(x, by.y) ^ rotate(x, by.z);
}

fn small_sigma(x: Word, by: vec3<u32>) -> Word {
    return rotate(x, by.x) ^ rotate(x, by.y) ^ shift(x, by.z);
}

fn schedule_word(t: u32) -> Word {
    return w[t & 31u];
}

fn choice(t: u32) -> Word {
    let x = e[(t - 1u) & 7u];
    return (x & e[(t - 2u) & 7u]) ^ (~x & e[(t - 3u) & 7u]);
}

fn majority(t: u32) -> Word {
    let x = a[(t - 1u) & 7u];
    let y = a[(t - 2u) & 7u];
    let z = a[(t - 3u) & 7u];
    return (x & y) ^ (x & z) ^ (y & z);
}

/// Makes the state at word `at` of the records that before round `t`.
fn load_state(at: u32, t: u32) {
    for (var i = 1u; i <= 4u; i++) {
        a[(t - i) & 7u] = state_word(at, i - 1u);
        e[(t - i) & 7u] = state_word(at, i + 3u);
    }
}

/// Round `t` of the block whose message is at word `message` of the records.
fn do_round(message: u32, t: u32) {
    var next: Word;
    if t < 16u {
        next = message_word(message, t);
    } else {
        next = word_add(
            word_add(small_sigma(schedule_word(t - 2u), SMALL_1), schedule_word(t - 7u)),
            word_add(small_sigma(schedule_word(t - 15u), SMALL_0), schedule_word(t - 16u)),
        );
    }
    w[t & 31u] = next;
    let t1 = word_add(
        word_add(e[(t - 4u) & 7u], big_sigma(e[(t - 1u) & 7u], BIG_1)),
        word_add(choice(t), word_add(K[t], next)),
    );
    let t2 = word_add(big_sigma(a[(t - 1u) & 7u], BIG_0), majority(t));
    e[t & 7u] = word_add(a[(t - 4u) & 7u], t1);
    a[t & 7u] = word_add(t1, t2);
}

fn put_bits(row: u32, column: u32, x: Word) {
    for (var i = 0u; i < WORD_BITS; i++) {
        put_bool(row, column + i, bit(x, i) != 0u);
    }
}

/// Flags of row `i` of a block, or ROWS for those that pad, and the number of its block. The row is encoded as upstream's `Encoder` does:
/// point `i` of those with coordinates whose sum is at most 2, in lexicographic order.
fn put_flags(row: u32, i: u32, block: u32) {
    put_bool(row, 1u, i < ROUND_ROWS);
    put_bool(row, 2u, i < 4u);
    put_bool(row, 3u, i == ROUND_ROWS);
    // how many coordinates stand behind the first that is not zero, and which point it is of those with the same first one
    var behind = 0u;
    var place = i - 1u;
    while i > 0u && place >= behind + 2u {
        place -= behind + 2u;
        behind += 1u;
    }
    for (var c = 0u; c < COORDINATES; c++) {
        let is_first = i > 0u && c == COORDINATES - 1u - behind;
        let is_second = i > 0u && place > 0u && place <= behind && c == COORDINATES - place;
        put_u32(row, ROW_INDEX + c, select(select(0u, 1u, is_second), select(1u, 2u, place > behind), is_first));
    }
    put_u32(row, BLOCK, block);
}

/// a, e and their carries in rounds `t` to `t + 3`. Rows that are no rounds add neither a constant nor a word of the schedule; their
/// carries are whatever makes the sum right.
fn put_states(row: u32, t: u32, is_round: bool) {
    for (var j = 0u; j < 4u; j++) {
        put_bits(row, A + WORD_BITS * j, a[(t + j) & 7u]);
        put_bits(row, E + WORD_BITS * j, e[(t + j) & 7u]);
        put_state_carries(row, t + j, HALVES * j, is_round);
    }
}

fn put_state_carries(row: u32, t: u32, column: u32, is_round: bool) {
    let sigma_1 = big_sigma(e[(t - 1u) & 7u], BIG_1);
    let sigma_0 = big_sigma(a[(t - 1u) & 7u], BIG_0);
    let ch = choice(t);
    let maj = majority(t);
    var carry_a = 0u;
    var carry_e = 0u;
    for (var k = 0u; k < HALVES; k++) {
        var t1 = half(e[(t - 4u) & 7u], k) + half(sigma_1, k) + half(ch, k);
        if is_round {
            t1 += half(K[t], k) + half(schedule_word(t), k);
        }
        let t2 = half(sigma_0, k) + half(maj, k);
        carry_a = carried(f_add(f_from_u32(t1 + t2), carry_a), half(a[t & 7u], k));
        carry_e = carried(f_add(f_from_u32(t1 + half(a[(t - 4u) & 7u], k)), carry_e), half(e[t & 7u], k));
        put(row, CARRY_A + column + k, carry_a);
        put(row, CARRY_E + column + k, carry_e);
        if is_round {
            count_bytes(f_to_u32(carry_a), f_to_u32(carry_e));
        }
    }
}

fn carried(sum: u32, rest: u32) -> u32 {
    return f_div_2exp(f_sub(sum, f_from_u32(rest)), 16u);
}

/// The schedule's words in rounds `t` to `t + 3`, and the carries of those that are no words of the message.
fn put_schedule(row: u32, t: u32) {
    for (var j = 0u; j < 4u; j++) {
        let next = schedule_word(t + j);
        put_bits(row, SCHEDULE + WORD_BITS * j, next);
        let column = SCHEDULE_CARRY + 2u * HALVES * j;
        var carry = 0u;
        for (var k = 0u; k < HALVES; k++) {
            if t >= 16u {
                let sigma_1 = small_sigma(schedule_word(t + j - 2u), SMALL_1);
                let sigma_0 = small_sigma(schedule_word(t + j - 15u), SMALL_0);
                carry += half(sigma_1, k) + half(schedule_word(t + j - 7u), k);
                carry += half(sigma_0, k) + half(schedule_word(t + j - 16u), k);
                carry = (carry - half(next, k)) >> 16u;
            }
            put_u32(row, column + 2u * k, carry & 1u);
            put_u32(row, column + 2u * k + 1u, carry >> 1u);
        }
    }
}

/// The hash of the block whose record is at `record`, and the state before it.
fn put_digest(row: u32, record: u32) {
    for (var i = 0u; i < 4u * STATE_WORDS; i += 2u) {
        let x = byte_of(record + NEW_STATE, i);
        let y = byte_of(record + NEW_STATE, i + 1u);
        put_u32(row, FINAL_HASH + i, x);
        put_u32(row, FINAL_HASH + i + 1u, y);
        count_bytes(x, y);
    }
    for (var i = 0u; i < 2u * STATE_WORDS; i++) {
        put_u32(row, PREVIOUS_HASH + i, half_of(record + STATE, i));
    }
    put_zeros(row, END_OF_DIGEST, WIDTH - END_OF_DIGEST);
}

/// Row `i` of the block whose record is at `record`, the `block`th of the trace; `is_last` if rows that pad stand behind it.
fn put_block_row(row: u32, i: u32, record: u32, block: u32, is_last: bool) {
    let is_round = i < ROUND_ROWS;
    let t = 4u * i;
    put_u32(row, 0u, block);
    put_flags(row, i, block + 1u);
    load_state(record + STATE, 0u);
    for (var round = 0u; round < min(t + 4u, 4u * ROUND_ROWS); round++) {
        do_round(record + MESSAGE, round);
    }
    if !is_round {
        // the state before the next block
        load_state(record + RECORD + STATE, t + 4u);
    }
    put_states(row, t, is_round);
    put_links(row, i, record, block, is_last);
    if is_round {
        put_schedule(row, t);
    } else {
        put_digest(row, record);
    }
}

/// A row that pads, behind the record at `last`: the state before the first block, twice.
fn put_padding(row: u32, blocks: u32, last: u32, is_first: bool) {
    put(row, 0u, 0u);
    put_flags(row, ROWS, blocks + 1u);
    load_state(last + RECORD + STATE, 4u);
    load_state(last + RECORD + STATE, 8u);
    put_states(row, 4u, false);
    put_padding_links(row, last, is_first, row == params.height - 1u);
    put_zeros(row, SCHEDULE, WIDTH - SCHEDULE);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    clear_hot(local);
    workgroupBarrier();
    let i = linear_workgroup(workgroup_id, num_workgroups) * THREADS + local;
    let row = params.first_row + i;
    let blocks = params.used / ROWS;
    if i < params.used {
        let block = i / ROWS;
        let is_last = block + 1u == blocks && params.used < params.rows;
        put_block_row(row, i % ROWS, RECORD * (block + 1u), row / ROWS, is_last);
    } else if i < params.rows {
        put_padding(row, (params.first_row + params.used) / ROWS, RECORD * blocks, i == params.used);
    }
    workgroupBarrier();
    add_hot(local);
}
