// The trace of MUL.
//
// One thread a row (openvm/row.wgsl). Host reference: `MultiplicationFiller`.
#import openvm/mul_adapter
#import openvm/mul_core

#interface

const RECORD: u32 = 11u;
const WIDTH: u32 = 31u;

fn fill(row: u32, record: u32) {
    put_registers(row, record);
    put_mul(row, records[record + MUL_RECORD], records[record + MUL_RECORD + 1u]);
}

fn put_mul(row: u32, b: u32, c: u32) {
    let a = b * c;
    put_limbs(row, MUL_WIDTH, a);
    put_limbs(row, MUL_WIDTH + 4u, b);
    put_limbs(row, MUL_WIDTH + 8u, c);
    put(row, MUL_WIDTH + 12u, F_ONE);
    var carry = 0u;
    for (var i = 0u; i < 4u; i++) {
        carry = (carry + product_limb(b, c, 0u, 0u, i)) >> 8u;
        count_tuple(limb(a, i), carry);
    }
}
