// SHA-256's words and functions on them. State and message lie in the records as bytes: words of the state are little-endian, those of a
// message big-endian.

alias Word = u32;

const WORD_BITS: u32 = 32u;

fn word_add(x: Word, y: Word) -> Word {
    return x + y;
}

fn rotate(x: Word, n: u32) -> Word {
    return (x >> n) | (x << (32u - n));
}

fn shift(x: Word, n: u32) -> Word {
    return x >> n;
}

fn bit(x: Word, i: u32) -> u32 {
    return (x >> i) & 1u;
}

/// 16 bits.
fn half(x: Word, i: u32) -> u32 {
    return (x >> (16u * i)) & 0xffffu;
}

fn state_word(at: u32, i: u32) -> Word {
    return records[at + i];
}

fn message_word(at: u32, i: u32) -> Word {
    return swap_bytes(records[at + i]);
}

const BIG_0 = vec3<u32>(2u, 13u, 22u);
const BIG_1 = vec3<u32>(6u, 11u, 25u);
/// Two rotations and a shift.
const SMALL_0 = vec3<u32>(7u, 18u, 3u);
const SMALL_1 = vec3<u32>(17u, 19u, 10u);
