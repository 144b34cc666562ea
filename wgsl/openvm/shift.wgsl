// The trace of shifts: SLL, SRL, SRA.
//
// One thread a row (openvm/row.wgsl).
#import openvm/alu_adapter
#import openvm/shift_core

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 53u;
const WORDS: u32 = 1u;

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    let at = record + ALU_RECORD;
    put_shift(row, ALU_WIDTH, at, at + 1u, records[at + 2u] & 0xffu);
}
