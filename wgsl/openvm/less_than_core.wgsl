// Comparisons of two registers, byte by byte from the top, as less-than and the branches on it have them.
#import openvm/row

const NO_LIMB: u32 = 4u;

/// The highest byte as a signed number where the comparison is signed; the same, moved into a byte.
struct Top {
    value: i32,
    byte: u32,
}

fn top(word: u32, is_signed: bool) -> Top {
    let byte = limb(word, 3u);
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
    /// The highest byte in which they differ, or NO_LIMB, and by how much.
    limb: u32,
    difference: u32,
}

fn compare(b: u32, c: u32, is_signed: bool) -> Comparison {
    let top_b = top(b, is_signed);
    let top_c = top(c, is_signed);
    if b == c {
        return Comparison(top_b, top_c, false, NO_LIMB, 0u);
    }
    let at = firstLeadingBit(b ^ c) / 8u;
    let difference = select(i32(limb(c, at)) - i32(limb(b, at)), top_c.value - top_b.value, at == 3u);
    return Comparison(top_b, top_c, difference > 0, at, u32(abs(difference)));
}

/// Counts what proves that the comparison is right.
fn count_comparison(comparison: Comparison) {
    count_bytes(comparison.b.byte, comparison.c.byte);
    if comparison.limb != NO_LIMB {
        count_bytes(comparison.difference - 1u, 0u);
    }
}

/// A small number that may be negative.
fn put_signed(row: u32, column: u32, x: i32) {
    let size = f_from_u32(u32(abs(x)));
    put(row, column, select(size, f_neg(size), x < 0));
}
