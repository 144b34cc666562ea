// The trace of high products: MULH, MULHSU, MULHU.
//
// One thread a row (openvm/row.wgsl). Host reference: `MulHFiller`.
#import openvm/mul_adapter
#import openvm/product_core

#interface

const RECORD: u32 = 12u;
const WIDTH: u32 = 39u;

const MULH: u32 = 0u;
const MULHU: u32 = 2u;

fn fill(row: u32, record: u32) {
    put_registers(row, record);
    let at = record + MUL_RECORD;
    put_mulh(row, records[at], records[at + 1u], records[at + 2u] & 0xffu);
}

fn put_mulh(row: u32, b: u32, c: u32, opcode: u32) {
    let b_sign = sign_byte(b, opcode != MULHU);
    let c_sign = sign_byte(c, opcode == MULH);
    var low = 0u;
    var high = 0u;
    var carry = 0u;
    for (var i = 0u; i < 8u; i++) {
        let sum = carry + product_limb(b, c, b_sign, c_sign, i);
        carry = sum >> 8u;
        count_tuple(sum & 0xffu, carry);
        if i < 4u {
            low |= (sum & 0xffu) << (8u * i);
        } else {
            high |= (sum & 0xffu) << (8u * (i - 4u));
        }
    }
    if opcode != MULHU {
        let c_top = limb(c, 3u);
        count_bytes((limb(b, 3u) & 0x7fu) << 1u, select(c_top, (c_top & 0x7fu) << 1u, opcode == MULH));
    }
    put_limbs(row, MUL_WIDTH, high);
    put_limbs(row, MUL_WIDTH + 4u, b);
    put_limbs(row, MUL_WIDTH + 8u, c);
    put_limbs(row, MUL_WIDTH + 12u, low);
    put_u32(row, MUL_WIDTH + 16u, b_sign);
    put_u32(row, MUL_WIDTH + 17u, c_sign);
    put_marker(row, MUL_WIDTH + 18u, 3u, opcode);
}
