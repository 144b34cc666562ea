// Branches on equality: BEQ, BNE.
//
// Host reference: `BranchEqualFiller`.
#import openvm/operands

const BEQ: u32 = 0u;

/// Columns from `column` on, with the operands at words `a_at` and `b_at` of the records.
fn put_branch_equal(row: u32, column: u32, a_at: u32, b_at: u32, offset: u32, opcode: u32) {
    // the lowest byte in which they differ, or LIMBS, with what the two have there
    var at = LIMBS;
    var a_byte = 0u;
    var b_byte = 0u;
    for (var i = 0u; i < WORDS; i++) {
        let a = records[a_at + i];
        let b = records[b_at + i];
        if at == LIMBS && a != b {
            let j = firstTrailingBit(a ^ b) / 8u;
            at = 4u * i + j;
            a_byte = limb(a, j);
            b_byte = limb(b, j);
        }
    }
    put_bytes(row, column, a_at, WORDS);
    put_bytes(row, column + LIMBS, b_at, WORDS);
    let after = column + 2u * LIMBS;
    put_bool(row, after, (at == LIMBS) == (opcode == BEQ));
    put_u32(row, after + 1u, offset);
    put_marker(row, after + 2u, 2u, opcode);
    let inverse = f_inverse(f_sub(f_from_u32(a_byte), f_from_u32(b_byte)));
    for (var i = 0u; i < LIMBS; i++) {
        put(row, after + 4u + i, select(0u, inverse, i == at));
    }
}
