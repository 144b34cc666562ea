// The trace of products of 256-bit integers: MUL256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_adapter
#import openvm/mul_core

#interface

const RECORD: u32 = 59u;
const WIDTH: u32 = 227u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap(row, record);
    put_mul(row, HEAP_WIDTH, record + HEAP_RECORD, record + HEAP_RECORD + 8u);
}
