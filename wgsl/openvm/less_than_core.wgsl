// Comparisons byte by byte from the top: SLT, SLTU, and the branches BLT, BLTU, BGE, BGEU.
//
// Host reference: `LessThanFiller`, `BranchLessThanFiller`.
#import openvm/operands

const SLT: u32 = 0u;
const BLT: u32 = 0u;
const BGE: u32 = 2u;

/// The highest byte as a signed number where the comparison is signed; the same, moved into a byte.
struct Top {
    value: i32,
    byte: u32,
}

fn top(byte: u32, is_signed: bool) -> Top {
    if is_signed {
        let value = i32(byte ^ 0x80u) - 128;
        return Top(value, byte ^ 0x80u);
    }
    return Top(i32(byte), byte);
}

struct Comparison {
    b: Top,
    c: Top,
    is_less: bool,
    /// The highest byte in which they differ, or LIMBS, and by how much.
    limb: u32,
    difference: u32,
}

/// Of the operands at words `b_at` and `c_at` of the records.
fn compare(b_at: u32, c_at: u32, is_signed: bool) -> Comparison {
    let top_b = top(operand_limb(b_at, LIMBS - 1u), is_signed);
    let top_c = top(operand_limb(c_at, LIMBS - 1u), is_signed);
    var at = LIMBS;
    var difference = 0;
    for (var i = 0u; i < WORDS; i++) {
        let b = records[b_at + i];
        let c = records[c_at + i];
        if b != c {
            let j = firstLeadingBit(b ^ c) / 8u;
            at = 4u * i + j;
            difference = i32(limb(c, j)) - i32(limb(b, j));
        }
    }
    if at == LIMBS - 1u {
        difference = top_c.value - top_b.value;
    }
    return Comparison(top_b, top_c, difference > 0, at, u32(abs(difference)));
}

/// Counts what proves that the comparison is right.
fn count_comparison(comparison: Comparison) {
    count_bytes(comparison.b.byte, comparison.c.byte);
    if comparison.limb != LIMBS {
        count_bytes(comparison.difference - 1u, 0u);
    }
}

/// A small number that may be negative.
fn put_signed(row: u32, column: u32, x: i32) {
    let size = f_from_u32(u32(abs(x)));
    put(row, column, select(size, f_neg(size), x < 0));
}

/// Columns from `column` on, with the operands at words `b_at` and `c_at` of the records.
fn put_less_than(row: u32, column: u32, b_at: u32, c_at: u32, opcode: u32) {
    let comparison = compare(b_at, c_at, opcode == SLT);
    put_bytes(row, column, b_at, WORDS);
    put_bytes(row, column + LIMBS, c_at, WORDS);
    let after = column + 2u * LIMBS;
    put_bool(row, after, comparison.is_less);
    put_marker(row, after + 1u, 2u, opcode);
    put_signed(row, after + 3u, comparison.b.value);
    put_signed(row, after + 4u, comparison.c.value);
    put_marker(row, after + 5u, LIMBS, comparison.limb);
    put_u32(row, after + 5u + LIMBS, comparison.difference);
    count_comparison(comparison);
}

/// The same for a branch by `offset`.
fn put_branch_less_than(row: u32, column: u32, a_at: u32, b_at: u32, offset: u32, opcode: u32) {
    let comparison = compare(a_at, b_at, opcode == BLT || opcode == BGE);
    put_bytes(row, column, a_at, WORDS);
    put_bytes(row, column + LIMBS, b_at, WORDS);
    let after = column + 2u * LIMBS;
    put_bool(row, after, comparison.is_less != (opcode >= BGE));
    put_u32(row, after + 1u, offset);
    put_marker(row, after + 2u, 4u, opcode);
    put_signed(row, after + 6u, comparison.b.value);
    put_signed(row, after + 7u, comparison.c.value);
    put_bool(row, after + 8u, comparison.is_less);
    put_marker(row, after + 9u, LIMBS, comparison.limb);
    put_u32(row, after + 9u + LIMBS, comparison.difference);
    count_comparison(comparison);
}
