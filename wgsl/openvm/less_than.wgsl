// The trace of less-than: SLT, SLTU.
//
// One thread a row (openvm/row.wgsl). Host reference: `LessThanFiller`.
#import openvm/alu_adapter
#import openvm/less_than_core

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 37u;

const SLT: u32 = 0u;

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    put_less_than(row, records[record + ALU_RECORD], records[record + ALU_RECORD + 1u], records[record + ALU_RECORD + 2u] & 0xffu);
}

fn put_less_than(row: u32, b: u32, c: u32, opcode: u32) {
    let comparison = compare(b, c, opcode == SLT);
    put_limbs(row, ALU_WIDTH, b);
    put_limbs(row, ALU_WIDTH + 4u, c);
    put_bool(row, ALU_WIDTH + 8u, comparison.is_less);
    put_marker(row, ALU_WIDTH + 9u, 2u, opcode);
    put_signed(row, ALU_WIDTH + 11u, comparison.b.value);
    put_signed(row, ALU_WIDTH + 12u, comparison.c.value);
    put_marker(row, ALU_WIDTH + 13u, 4u, comparison.limb);
    put_u32(row, ALU_WIDTH + 17u, comparison.difference);
    count_comparison(comparison);
}
