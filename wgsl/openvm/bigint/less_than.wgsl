// The trace of comparisons of 256-bit integers: SLT256, SLTU256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_adapter
#import openvm/less_than_core

#interface

const RECORD: u32 = 60u;
const WIDTH: u32 = 232u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap(row, record);
    let at = record + HEAP_RECORD;
    put_less_than(row, HEAP_WIDTH, at, at + 8u, records[at + 16u] & 0xffu);
}
