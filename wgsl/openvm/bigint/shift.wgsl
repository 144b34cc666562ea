// The trace of shifts of 256-bit integers: SLL256, SRL256, SRA256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_adapter
#import openvm/shift_core

#interface

const RECORD: u32 = 60u;
const WIDTH: u32 = 304u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap(row, record);
    let at = record + HEAP_RECORD;
    put_shift(row, HEAP_WIDTH, at, at + 8u, records[at + 16u] & 0xffu);
}
