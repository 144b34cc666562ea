// The trace of JALR, with its adapter: a register is read, one may be written. Columns 0 to 14 are the adapter's.
//
// One thread a row (openvm/row.wgsl). Host reference: `Rv32JalrAdapterFiller`, `Rv32JalrFiller`.
#import openvm/row

#interface

const RECORD: u32 = 11u;
const WIDTH: u32 = 28u;

struct Jump {
    pc: u32,
    timestamp: u32,
    rs1: u32,
    /// NO_REGISTER where nothing is written.
    rd: u32,
    read: u32,
    write: u32,
    overwritten: u32,
    offset: u32,
    from_pc: u32,
    rs1_value: u32,
    is_negative: bool,
}

fn fill(row: u32, record: u32) {
    let jump = Jump(
        records[record],
        records[record + 1u],
        records[record + 2u],
        records[record + 3u],
        records[record + 4u],
        records[record + 5u],
        records[record + 6u],
        records[record + 7u] & 0xffffu,
        records[record + 8u],
        records[record + 9u],
        (records[record + 10u] & 0xffu) != 0u,
    );
    put_accesses(row, jump);
    put_jump(row, jump);
}

fn put_accesses(row: u32, jump: Jump) {
    put_u32(row, 0u, jump.pc);
    put_u32(row, 1u, jump.timestamp);
    put_u32(row, 2u, jump.rs1);
    put_access(row, 3u, jump.read, jump.timestamp);
    let writes = jump.rd != NO_REGISTER;
    if writes {
        put_u32(row, 6u, jump.rd);
        put_access(row, 7u, jump.write, jump.timestamp + 1u);
        put_limbs(row, 10u, jump.overwritten);
    } else {
        put_zeros(row, 6u, 8u);
    }
    put_bool(row, 14u, writes);
}

fn put_jump(row: u32, jump: Jump) {
    let to_pc = jump.rs1_value + (jump.offset | select(0u, 0xffff0000u, jump.is_negative));
    let next_pc = jump.from_pc + 4u;
    put_u32(row, 15u, jump.offset);
    put_limbs(row, 16u, jump.rs1_value);
    for (var i = 0u; i < 3u; i++) {
        put_u32(row, 20u + i, limb(next_pc, i + 1u));
    }
    put(row, 23u, F_ONE);
    put_bool(row, 24u, (to_pc & 1u) != 0u);
    put_u32(row, 25u, (to_pc & 0xffffu) >> 1u);
    put_u32(row, 26u, to_pc >> 16u);
    put_bool(row, 27u, jump.is_negative);
    // a program counter has 30 bits
    count_range((to_pc & 0xffffu) >> 1u, 15u);
    count_range(to_pc >> 16u, 14u);
    count_bytes(limb(next_pc, 0u), limb(next_pc, 1u));
    count_range(limb(next_pc, 2u), 8u);
    count_range(limb(next_pc, 3u), 6u);
}
