// Low halves of products: MUL.
//
// Host reference: `MultiplicationFiller`.
#import openvm/operands

/// Columns from `column` on, with the operands at words `b_at` and `c_at` of the records.
fn put_mul(row: u32, column: u32, b_at: u32, c_at: u32) {
    put_bytes(row, column + LIMBS, b_at, WORDS);
    put_bytes(row, column + 2u * LIMBS, c_at, WORDS);
    put(row, column + 3u * LIMBS, F_ONE);
    var carry = 0u;
    for (var i = 0u; i < LIMBS; i++) {
        var sum = carry;
        for (var j = 0u; j <= i; j++) {
            sum += operand_limb(b_at, j) * operand_limb(c_at, i - j);
        }
        carry = sum >> 8u;
        put_u32(row, column + i, sum & 0xffu);
        count_tuple(sum & 0xffu, carry);
    }
}
