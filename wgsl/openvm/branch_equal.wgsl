// The trace of branches on equality: BEQ, BNE.
//
// One thread a row (openvm/row.wgsl). Host reference: `BranchEqualFiller`.
#import openvm/branch_adapter

#interface

const RECORD: u32 = 10u;
const WIDTH: u32 = 26u;

const BEQ: u32 = 0u;

fn fill(row: u32, record: u32) {
    put_branch(row, record);
    let at = record + BRANCH_RECORD;
    put_branch_equal(row, records[at], records[at + 1u], records[at + 2u], records[at + 3u] & 0xffu);
}

fn put_branch_equal(row: u32, a: u32, b: u32, offset: u32, opcode: u32) {
    put_limbs(row, BRANCH_WIDTH, a);
    put_limbs(row, BRANCH_WIDTH + 4u, b);
    put_bool(row, BRANCH_WIDTH + 8u, (a == b) == (opcode == BEQ));
    put_u32(row, BRANCH_WIDTH + 9u, offset);
    put_marker(row, BRANCH_WIDTH + 10u, 2u, opcode);
    // the lowest byte in which they differ, with the inverse of the difference
    let at = select(firstTrailingBit(a ^ b) / 8u, 4u, a == b);
    let inverse = f_inverse(f_sub(f_from_u32(limb(a, at & 3u)), f_from_u32(limb(b, at & 3u))));
    for (var i = 0u; i < 4u; i++) {
        put(row, BRANCH_WIDTH + 12u + i, select(0u, inverse, i == at));
    }
}
