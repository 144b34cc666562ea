// SHA-512's words, the low half first, and functions on them. State and message lie in the records as bytes: words of the state are
// little-endian, those of a message big-endian.

alias Word = vec2<u32>;

const WORD_BITS: u32 = 64u;

fn word_add(x: Word, y: Word) -> Word {
    let low = x.x + y.x;
    return vec2<u32>(low, x.y + y.y + select(0u, 1u, low < x.x));
}

/// By no multiple of 32.
fn rotate(x: Word, n: u32) -> Word {
    let turned = select(x, x.yx, n >= 32u);
    let crossed = vec2<u32>(turned.y, turned.x);
    let bits = vec2<u32>(n & 31u);
    return (turned >> bits) | (crossed << (vec2<u32>(32u) - bits));
}

/// By fewer than 32, and not by none.
fn shift(x: Word, n: u32) -> Word {
    return vec2<u32>((x.x >> n) | (x.y << (32u - n)), x.y >> n);
}

fn bit(x: Word, i: u32) -> u32 {
    return (select(x.x, x.y, i >= 32u) >> (i & 31u)) & 1u;
}

/// 16 bits.
fn half(x: Word, i: u32) -> u32 {
    return (select(x.x, x.y, i >= 2u) >> (16u * (i & 1u))) & 0xffffu;
}

fn state_word(at: u32, i: u32) -> Word {
    return vec2<u32>(records[at + 2u * i], records[at + 2u * i + 1u]);
}

fn message_word(at: u32, i: u32) -> Word {
    return vec2<u32>(swap_bytes(records[at + 2u * i + 1u]), swap_bytes(records[at + 2u * i]));
}

const BIG_0 = vec3<u32>(28u, 34u, 39u);
const BIG_1 = vec3<u32>(14u, 18u, 41u);
/// Two rotations and a shift.
const SMALL_0 = vec3<u32>(1u, 8u, 7u);
const SMALL_1 = vec3<u32>(19u, 61u, 6u);
