// The trace of hint stores: HINT_STOREW, HINT_BUFFER. A record is a row: the host repeats what an instruction has in common.
//
// One thread a row (openvm/row.wgsl). Host reference: `Rv32HintStoreFiller`.
#import openvm/row

#interface

const RECORD: u32 = 12u;
const WIDTH: u32 = 32u;

/// Bits of the number of words, which is below 2^10.
const WORDS_BITS: u32 = 10u;

struct Hint {
    words: u32,
    pc: u32,
    timestamp: u32,
    pointer_register: u32,
    pointer: u32,
    read_pointer: u32,
    /// NO_REGISTER for HINT_STOREW.
    words_register: u32,
    read_words: u32,
    /// Which of the words it is.
    index: u32,
    write: u32,
    overwritten: u32,
    data: u32,
}

fn fill(row: u32, record: u32) {
    let hint = Hint(
        records[record],
        records[record + 1u],
        records[record + 2u],
        records[record + 3u],
        records[record + 4u],
        records[record + 5u],
        records[record + 6u],
        records[record + 7u],
        records[record + 8u],
        records[record + 9u],
        records[record + 10u],
        records[record + 11u],
    );
    put_hint(row, hint);
}

fn put_hint(row: u32, hint: Hint) {
    let is_single = hint.words_register == NO_REGISTER;
    let is_first = hint.index == 0u;
    let starts_buffer = is_first && !is_single;
    let timestamp = hint.timestamp + 3u * hint.index;
    put_bool(row, 0u, is_single);
    put_bool(row, 1u, !is_single);
    put_limbs(row, 2u, hint.words - hint.index);
    put_u32(row, 6u, hint.pc);
    put_u32(row, 7u, timestamp);
    put_u32(row, 8u, hint.pointer_register);
    put_limbs(row, 9u, hint.pointer + 4u * hint.index);
    if is_first {
        put_access(row, 13u, hint.read_pointer, timestamp);
        count_bytes(
            (hint.pointer >> 24u) << (32u - params.pointer_bits),
            limb(hint.words, 1u) << (16u - WORDS_BITS),
        );
    } else {
        put_zeros(row, 13u, 3u);
    }
    put_access(row, 16u, hint.write, timestamp + 2u);
    put_limbs(row, 19u, hint.overwritten);
    put_limbs(row, 23u, hint.data);
    put_bool(row, 27u, starts_buffer);
    if starts_buffer {
        put_u32(row, 28u, hint.words_register);
        put_access(row, 29u, hint.read_words, timestamp + 1u);
    } else {
        put_zeros(row, 28u, 4u);
    }
    count_bytes(limb(hint.data, 0u), limb(hint.data, 1u));
    count_bytes(limb(hint.data, 2u), limb(hint.data, 3u));
}
