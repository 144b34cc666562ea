// The trace of MUL.
//
// One thread a row (openvm/row.wgsl).
#import openvm/mul_adapter
#import openvm/mul_core

#interface

const RECORD: u32 = 11u;
const WIDTH: u32 = 31u;
const WORDS: u32 = 1u;

fn fill(row: u32, record: u32) {
    put_registers(row, record);
    put_mul(row, MUL_WIDTH, record + MUL_RECORD, record + MUL_RECORD + 1u);
}
