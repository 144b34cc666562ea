// The trace of AUIPC.
//
// One thread a row (openvm/row.wgsl). Host reference: `Rv32AuipcFiller`.
#import openvm/write_adapter

#interface

const RECORD: u32 = 7u;
const WIDTH: u32 = 20u;

fn fill(row: u32, record: u32) {
    put_write(row, load_write(record));
    put_auipc(row, records[record + WRITE_RECORD], records[record + WRITE_RECORD + 1u]);
}

fn put_auipc(row: u32, pc: u32, immediate: u32) {
    let value = pc + (immediate << 8u);
    put(row, WRITE_WIDTH, F_ONE);
    for (var i = 0u; i < 3u; i++) {
        put_u32(row, WRITE_WIDTH + 1u + i, limb(immediate, i));
    }
    put_u32(row, WRITE_WIDTH + 4u, limb(pc, 1u));
    put_u32(row, WRITE_WIDTH + 5u, limb(pc, 2u));
    put_limbs(row, WRITE_WIDTH + 6u, value);
    count_bytes(limb(immediate, 0u), limb(immediate, 1u));
    count_bytes(limb(immediate, 2u), limb(pc, 1u));
    // a program counter has 30 bits
    count_bytes(limb(pc, 2u), limb(pc, 3u) << 2u);
    count_bytes(limb(value, 0u), limb(value, 1u));
    count_bytes(limb(value, 2u), limb(value, 3u));
}
