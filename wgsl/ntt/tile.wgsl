// 4,096 words in workgroup memory, of which each of 256 threads takes sixteen at a time as a block.
#import ntt/block

/// One word of padding every 32 against bank conflicts: word i at i + i / 32. Disjoint bits of i are placed independently.
var<workgroup> tile: array<u32, 4224>;

fn padded(i: u32) -> u32 {
    return i + (i >> 5u);
}

/// The place of bit j of a vector's number, counted from what the thread's eight bits leave: the digit's own bits are skipped.
fn vector_bit(j: u32, bit: u32, log_radix: u32) -> u32 {
    return padded(256u << (j + select(0u, log_radix, j + 8u >= bit)));
}

/// Blocks whose u is the digit of log_radix (1..4) bits at `bit` of the word's index.
fn digit_slots(bit: u32, log_radix: u32) -> Slots {
    // bit 3 of the slot is the highest of u, the lowest slot bits number the vectors
    let w3 = padded(1u << (bit + log_radix - 1u));
    let w2 = select(vector_bit(2u, bit, log_radix), padded((1u << bit) << (max(log_radix, 2u) - 2u)), log_radix >= 2u);
    let w1 = select(vector_bit(1u, bit, log_radix), padded((1u << bit) << (max(log_radix, 3u) - 3u)), log_radix >= 3u);
    let w0 = select(vector_bit(0u, bit, log_radix), padded(1u << bit), log_radix == 4u);
    return Slots(vec4<u32>(0u, w0, w1, w0 + w1), w2, w3);
}

/// The place of this thread's block: its number fills the lowest eight bits that the digit leaves.
fn digit_base(local: u32, bit: u32, log_radix: u32) -> u32 {
    let low = min(bit, 8u);
    return padded((local & ((1u << low) - 1u)) | ((local >> low) << (low + log_radix)));
}

fn get4(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(tile[at.x], tile[at.y], tile[at.z], tile[at.w]);
}

fn put4(at: vec4<u32>, x: vec4<u32>) {
    tile[at.x] = x.x;
    tile[at.y] = x.y;
    tile[at.z] = x.z;
    tile[at.w] = x.w;
}

fn get_block(base: u32, slots: Slots) -> Block {
    let a = slots.low + base;
    return Block(get4(a), get4(a + slots.w2), get4(a + slots.w3), get4(a + (slots.w2 + slots.w3)));
}

fn put_block(base: u32, slots: Slots, x: Block) {
    let a = slots.low + base;
    put4(a, x.a);
    put4(a + slots.w2, x.b);
    put4(a + slots.w3, x.c);
    put4(a + (slots.w2 + slots.w3), x.d);
}
