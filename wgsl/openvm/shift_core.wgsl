// Shifts: SLL, SRL, SRA.
//
// Host reference: `ShiftFiller`.
#import openvm/operands

const SLL: u32 = 0u;
const SRL: u32 = 1u;
const SRA: u32 = 2u;

/// Word `i` of the operand at `b_at` shifted by `shift` bits; words beyond its top are `beyond`.
fn result(opcode: u32, b_at: u32, beyond: u32, shift: u32, i: u32) -> u32 {
    let words = shift / 32u;
    let bits = shift & 31u;
    if opcode == SLL {
        let high = shifted_in(b_at, 0u, i - words);
        let low = shifted_in(b_at, 0u, i - words - 1u);
        return select((high << bits) | (low >> (32u - bits)), high, bits == 0u);
    }
    let low = shifted_in(b_at, beyond, i + words);
    let high = shifted_in(b_at, beyond, i + words + 1u);
    return select((low >> bits) | (high << (32u - bits)), low, bits == 0u);
}

/// Word `i` of the operand at `at`, of which there are WORDS; an index below zero is huge.
fn shifted_in(at: u32, beyond: u32, i: u32) -> u32 {
    if i < WORDS {
        return records[at + i];
    }
    return beyond;
}

/// Columns from `column` on, with the operands at words `b_at` and `c_at` of the records.
fn put_shift(row: u32, column: u32, b_at: u32, c_at: u32, opcode: u32) {
    // the lowest byte has all bits of the distance
    let distance = operand_limb(c_at, 0u);
    let shift = distance & (8u * LIMBS - 1u);
    let bits = shift & 7u;
    let top = operand_limb(b_at, LIMBS - 1u);
    let is_negative = opcode == SRA && (top >> 7u) != 0u;
    put_bytes(row, column + LIMBS, b_at, WORDS);
    put_bytes(row, column + 2u * LIMBS, c_at, WORDS);
    let after = column + 3u * LIMBS;
    put_marker(row, after, 3u, opcode);
    put_u32(row, after + 3u, select(0u, 1u << bits, opcode == SLL));
    put_u32(row, after + 4u, select(1u << bits, 0u, opcode == SLL));
    put_bool(row, after + 5u, is_negative);
    put_marker(row, after + 6u, 8u, bits);
    put_marker(row, after + 14u, LIMBS, shift >> 3u);
    put_shift_carries(row, after + 14u + LIMBS, b_at, opcode, bits);
    for (var i = 0u; i < WORDS; i++) {
        let a = result(opcode, b_at, select(0u, 0xffffffffu, is_negative), shift, i);
        put_limbs(row, column + 4u * i, a);
        count_bytes(limb(a, 0u), limb(a, 1u));
        count_bytes(limb(a, 2u), limb(a, 3u));
    }
    let shift_bits = firstTrailingBit(8u * LIMBS);
    count_range(distance >> shift_bits, 8u - shift_bits);
    if opcode == SRA {
        count_xor(top, 0x80u);
    }
}

/// What bytes hand on to the next ones; with no bits it is nothing.
fn put_shift_carries(row: u32, column: u32, b_at: u32, opcode: u32, bits: u32) {
    for (var i = 0u; i < LIMBS; i++) {
        let b = operand_limb(b_at, i);
        let carry = select(b & ((1u << bits) - 1u), b >> (8u - bits), opcode == SLL);
        put_u32(row, column + i, carry);
        if bits > 0u {
            count_range(carry, bits);
        }
    }
    if bits == 0u {
        count_times(range_place(0u, 0u), LIMBS);
    }
}
