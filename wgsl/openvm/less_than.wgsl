// The trace of less-than: SLT, SLTU.
//
// One thread a row (openvm/row.wgsl).
#import openvm/alu_adapter
#import openvm/less_than_core

#interface

const RECORD: u32 = 13u;
const WIDTH: u32 = 37u;
const WORDS: u32 = 1u;

fn fill(row: u32, record: u32) {
    put_alu(row, record);
    let at = record + ALU_RECORD;
    put_less_than(row, ALU_WIDTH, at, at + 1u, records[at + 2u] & 0xffu);
}
