// The trace of the base ALU: ADD, SUB, XOR, OR, AND.
//
// One thread a row (openvm/row.wgsl).
#import openvm/alu_adapter
#import openvm/base_alu_core

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 36u;
const WORDS: u32 = 1u;

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    let at = record + ALU_RECORD;
    put_base_alu(row, ALU_WIDTH, at, at + 1u, records[at + 2u] & 0xffu);
}
