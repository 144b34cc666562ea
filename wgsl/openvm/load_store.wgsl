// The trace of loads and stores: LOADW, LOADBU, LOADHU, STOREW, STOREH, STOREB.
//
// One thread a row (openvm/row.wgsl). Host reference: `LoadStoreFiller`.
#import openvm/load_store_adapter

#interface

const RECORD: u32 = 15u;
const WIDTH: u32 = 41u;

const LOADW: u32 = 0u;
const LOADBU: u32 = 1u;
const LOADHU: u32 = 2u;
const STOREW: u32 = 3u;
const STOREH: u32 = 4u;
const STOREB: u32 = 5u;

fn fill(row: u32, record: u32) {
    put_memory(row, load_memory(record));
    let at = record + MEMORY_RECORD;
    let packed = records[at];
    let read = (packed >> 16u) | (records[at + 1u] << 16u);
    let before = vec4<u32>(records[at + 2u], records[at + 3u], records[at + 4u], records[at + 5u]);
    put_load_store(row, limb(packed, 0u), limb(packed, 1u), read, before);
}

/// What tells opcodes and shifts apart, byte by byte: four flags of 0, 1 or 2, the sum of which is 1 or 2.
fn flags(opcode: u32, shift: u32) -> u32 {
    switch opcode {
        case LOADW: { return 0x00000002u; }
        case LOADHU: { return select(0x00000200u, 0x00020000u, shift == 2u); }
        case LOADBU: { return select(1u << (8u * ((shift - 1u) & 3u)), 0x02000000u, shift == 0u); }
        case STOREW: { return 0x01000000u; }
        case STOREH: { return select(0x00000101u, 0x00010001u, shift == 2u); }
        default: {
            if shift == 0u {
                return 0x01000001u;
            }
            return select(select(0x01010000u, 0x01000100u, shift == 2u), 0x00010100u, shift == 1u);
        }
    }
}

/// The bytes that are written over `before`, which may be more than bytes.
fn written(opcode: u32, shift: u32, read: u32, before: vec4<u32>, i: u32) -> u32 {
    switch opcode {
        case LOADW, STOREW: { return limb(read, i); }
        case LOADBU: { return select(0u, limb(read, shift), i == 0u); }
        case LOADHU: { return select(0u, limb(read, (i + shift) & 3u), i < 2u); }
        case STOREH: { return select(before[i], limb(read, (i - shift) & 3u), i - shift < 2u); }
        default: { return select(before[i], limb(read, 0u), i == shift); }
    }
}

fn put_load_store(row: u32, opcode: u32, shift: u32, read: u32, before: vec4<u32>) {
    put_limbs(row, MEMORY_WIDTH, flags(opcode, shift));
    put(row, MEMORY_WIDTH + 4u, F_ONE);
    put_bool(row, MEMORY_WIDTH + 5u, opcode <= LOADHU);
    put_limbs(row, MEMORY_WIDTH + 6u, read);
    for (var i = 0u; i < 4u; i++) {
        put_u32(row, MEMORY_WIDTH + 10u + i, before[i]);
        put_u32(row, MEMORY_WIDTH + 14u + i, written(opcode, shift, read, before, i));
    }
}
