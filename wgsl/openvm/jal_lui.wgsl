// The trace of JAL and LUI.
//
// One thread a row (openvm/row.wgsl). Host reference: `Rv32JalLuiFiller`.
#import openvm/write_adapter

#interface

const RECORD: u32 = 8u;
const WIDTH: u32 = 18u;

fn fill(row: u32, record: u32) {
    let write = load_write(record);
    put_write(row, write);
    put_bool(row, WRITE_WIDTH, write.rd != NO_REGISTER);
    let at = record + WRITE_RECORD;
    put_jal_lui(row, records[at], records[at + 1u], (records[at + 2u] & 0xffu) != 0u);
}

fn put_jal_lui(row: u32, immediate: u32, value: u32, is_jal: bool) {
    put_u32(row, WRITE_WIDTH + 1u, immediate);
    put_limbs(row, WRITE_WIDTH + 2u, value);
    put_bool(row, WRITE_WIDTH + 6u, is_jal);
    put_bool(row, WRITE_WIDTH + 7u, !is_jal);
    count_bytes(limb(value, 0u), limb(value, 1u));
    count_bytes(limb(value, 2u), limb(value, 3u));
    if is_jal {
        // a program counter has 30 bits
        count_xor(limb(value, 3u), 0xc0u);
    }
}
