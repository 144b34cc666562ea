// The trace of branches on equality of 256-bit integers: BEQ256, BNE256.
//
// One thread a row (openvm/row.wgsl).
#import openvm/heap_branch_adapter
#import openvm/branch_equal_core

#interface

const RECORD: u32 = 42u;
const WIDTH: u32 = 166u;
const WORDS: u32 = 8u;

fn fill(row: u32, record: u32) {
    put_heap_branch(row, record);
    let at = record + HEAP_BRANCH_RECORD;
    put_branch_equal(row, HEAP_BRANCH_WIDTH, at, at + 8u, records[at + 16u], records[at + 17u] & 0xffu);
}
