// The trace of the base ALU: ADD, SUB, XOR, OR, AND.
//
// One thread a row (openvm/row.wgsl). Host reference: `BaseAluFiller`.
#import openvm/alu_adapter

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 36u;

const ADD: u32 = 0u;
const SUB: u32 = 1u;
const XOR: u32 = 2u;
const OR: u32 = 3u;
const AND: u32 = 4u;

fn result(opcode: u32, b: u32, c: u32) -> u32 {
    switch opcode {
        case ADD: { return b + c; }
        case SUB: { return b - c; }
        case XOR: { return b ^ c; }
        case OR: { return b | c; }
        default: { return b & c; }
    }
}

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    put_base_alu(row, records[record + ALU_RECORD], records[record + ALU_RECORD + 1u], records[record + ALU_RECORD + 2u] & 0xffu);
}

fn put_base_alu(row: u32, b: u32, c: u32, opcode: u32) {
    let a = result(opcode, b, c);
    put_limbs(row, ALU_WIDTH, a);
    put_limbs(row, ALU_WIDTH + 4u, b);
    put_limbs(row, ALU_WIDTH + 8u, c);
    put_marker(row, ALU_WIDTH + 12u, 5u, opcode);
    let is_sum = opcode <= SUB;
    for (var i = 0u; i < 4u; i++) {
        count_xor(limb(select(b, a, is_sum), i), limb(select(c, a, is_sum), i));
    }
}
