// The trace of sums, differences and bitwise operations of 256-bit integers: ADD256, SUB256, XOR256, OR256, AND256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_adapter
#import openvm/base_alu_core

#interface

const RECORD: u32 = 60u;
const WIDTH: u32 = 231u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap(row, record);
    let at = record + HEAP_RECORD;
    put_base_alu(row, HEAP_WIDTH, at, at + 8u, records[at + 16u] & 0xffu);
}
