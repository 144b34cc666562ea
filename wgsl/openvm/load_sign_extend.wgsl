// The trace of loads with a sign: LOADB, LOADH.
//
// One thread a row (openvm/row.wgsl). Host reference: `LoadSignExtendFiller`.
#import openvm/load_store_adapter

#interface

const RECORD: u32 = 12u;
const WIDTH: u32 = 36u;

fn fill(row: u32, record: u32) {
    put_memory(row, load_memory(record));
    let at = record + MEMORY_RECORD;
    let packed = records[at];
    let read = (packed >> 16u) | (records[at + 1u] << 16u);
    let before = (records[at + 1u] >> 16u) | (records[at + 2u] << 16u);
    put_signed_load(row, limb(packed, 0u) != 0u, limb(packed, 1u), read, before);
}

fn put_signed_load(row: u32, is_byte: bool, shift: u32, read: u32, before: u32) {
    let top = limb(read, select(shift + 1u, shift, is_byte));
    put_bool(row, MEMORY_WIDTH, is_byte && (shift & 1u) == 0u);
    put_bool(row, MEMORY_WIDTH + 1u, is_byte && (shift & 1u) == 1u);
    put_bool(row, MEMORY_WIDTH + 2u, !is_byte);
    put_bool(row, MEMORY_WIDTH + 3u, (shift & 2u) != 0u);
    put_bool(row, MEMORY_WIDTH + 4u, (top & 0x80u) != 0u);
    put_limbs(row, MEMORY_WIDTH + 5u, select(read, (read >> 16u) | (read << 16u), (shift & 2u) != 0u));
    put_limbs(row, MEMORY_WIDTH + 9u, before);
    count_range(top & 0x7fu, 7u);
}
