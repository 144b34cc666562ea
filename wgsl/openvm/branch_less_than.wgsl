// The trace of branches on less-than: BLT, BLTU, BGE, BGEU.
//
// One thread a row (openvm/row.wgsl). Host reference: `BranchLessThanFiller`.
#import openvm/branch_adapter
#import openvm/less_than_core

#interface

const RECORD: u32 = 10u;
const WIDTH: u32 = 32u;

const BLT: u32 = 0u;
const BGE: u32 = 2u;

fn fill(row: u32, record: u32) {
    put_branch(row, record);
    let at = record + BRANCH_RECORD;
    put_branch_less_than(row, records[at], records[at + 1u], records[at + 2u], records[at + 3u] & 0xffu);
}

fn put_branch_less_than(row: u32, a: u32, b: u32, offset: u32, opcode: u32) {
    let comparison = compare(a, b, opcode == BLT || opcode == BGE);
    put_limbs(row, BRANCH_WIDTH, a);
    put_limbs(row, BRANCH_WIDTH + 4u, b);
    put_bool(row, BRANCH_WIDTH + 8u, comparison.is_less != (opcode >= BGE));
    put_u32(row, BRANCH_WIDTH + 9u, offset);
    put_marker(row, BRANCH_WIDTH + 10u, 4u, opcode);
    put_signed(row, BRANCH_WIDTH + 14u, comparison.b.value);
    put_signed(row, BRANCH_WIDTH + 15u, comparison.c.value);
    put_bool(row, BRANCH_WIDTH + 16u, comparison.is_less);
    put_marker(row, BRANCH_WIDTH + 17u, 4u, comparison.limb);
    put_u32(row, BRANCH_WIDTH + 21u, comparison.difference);
    count_comparison(comparison);
}
