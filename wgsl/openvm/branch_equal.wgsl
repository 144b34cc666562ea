// The trace of branches on equality: BEQ, BNE.
//
// One thread a row (openvm/row.wgsl).
#import openvm/branch_adapter
#import openvm/branch_equal_core

#interface

const RECORD: u32 = 10u;
const WIDTH: u32 = 26u;
const WORDS: u32 = 1u;

fn fill(row: u32, record: u32) {
    put_branch(row, record);
    let at = record + BRANCH_RECORD;
    put_branch_equal(row, BRANCH_WIDTH, at, at + 1u, records[at + 2u], records[at + 3u] & 0xffu);
}
