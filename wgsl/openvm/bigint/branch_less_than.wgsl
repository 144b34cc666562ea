// The trace of branches on comparisons of 256-bit integers: BLT256, BLTU256, BGE256, BGEU256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_branch_adapter
#import openvm/less_than_core

#interface

const RECORD: u32 = 42u;
const WIDTH: u32 = 172u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap_branch(row, record);
    let at = record + HEAP_BRANCH_RECORD;
    put_branch_less_than(row, HEAP_BRANCH_WIDTH, at, at + 8u, records[at + 16u], records[at + 17u] & 0xffu);
}
