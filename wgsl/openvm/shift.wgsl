// The trace of shifts: SLL, SRL, SRA.
//
// One thread a row (openvm/row.wgsl). Host reference: `ShiftFiller`.
#import openvm/alu_adapter

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 53u;

const SLL: u32 = 0u;
const SRL: u32 = 1u;
const SRA: u32 = 2u;

fn result(opcode: u32, b: u32, shift: u32) -> u32 {
    switch opcode {
        case SLL: { return b << shift; }
        case SRL: { return b >> shift; }
        default: { return u32(i32(b) >> shift); }
    }
}

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    put_shift(row, records[record + ALU_RECORD], records[record + ALU_RECORD + 1u], records[record + ALU_RECORD + 2u] & 0xffu);
}

fn put_shift(row: u32, b: u32, c: u32, opcode: u32) {
    let shift = c & 31u;
    let bits = shift & 7u;
    let a = result(opcode, b, shift);
    put_limbs(row, ALU_WIDTH, a);
    put_limbs(row, ALU_WIDTH + 4u, b);
    put_limbs(row, ALU_WIDTH + 8u, c);
    put_marker(row, ALU_WIDTH + 12u, 3u, opcode);
    put_u32(row, ALU_WIDTH + 15u, select(0u, 1u << bits, opcode == SLL));
    put_u32(row, ALU_WIDTH + 16u, select(1u << bits, 0u, opcode == SLL));
    put_bool(row, ALU_WIDTH + 17u, opcode == SRA && (b >> 31u) != 0u);
    put_marker(row, ALU_WIDTH + 18u, 8u, bits);
    put_marker(row, ALU_WIDTH + 26u, 4u, shift >> 3u);
    for (var i = 0u; i < 4u; i++) {
        // what a byte hands on to the next one; with no bits it is nothing
        let carry = select(limb(b, i) & ((1u << bits) - 1u), limb(b, i) >> (8u - bits), opcode == SLL);
        put_u32(row, ALU_WIDTH + 30u + i, carry);
        count_range(carry, bits);
    }
    count_bytes(limb(a, 0u), limb(a, 1u));
    count_bytes(limb(a, 2u), limb(a, 3u));
    count_range(limb(c, 0u) >> 5u, 3u);
    if opcode == SRA {
        count_xor(limb(b, 3u), 0x80u);
    }
}
