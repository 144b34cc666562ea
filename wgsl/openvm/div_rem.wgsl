// The trace of quotients and remainders: DIV, DIVU, REM, REMU.
//
// One thread a row (openvm/row.wgsl). Host reference: `DivRemFiller`.
#import openvm/mul_adapter
#import openvm/product_core

#interface

const RECORD: u32 = 12u;
const WIDTH: u32 = 59u;

const DIV: u32 = 0u;
const REM: u32 = 2u;

struct Quotient {
    q: u32,
    r: u32,
    q_sign: bool,
    /// Neither a divisor of zero nor -2^31 / -1.
    is_ordinary: bool,
}

fn negate_if(x: u32, negate: bool) -> u32 {
    return select(x, 0u - x, negate);
}

fn divide(b: u32, c: u32, is_signed: bool) -> Quotient {
    if c == 0u {
        return Quotient(0xffffffffu, b, is_signed, false);
    }
    if is_signed && b == 0x80000000u && c == 0xffffffffu {
        return Quotient(b, 0u, false, false);
    }
    let b_sign = is_signed && (b >> 31u) != 0u;
    let c_sign = is_signed && (c >> 31u) != 0u;
    let b_size = negate_if(b, b_sign);
    let c_size = negate_if(c, c_sign);
    let q = negate_if(b_size / c_size, b_sign != c_sign);
    return Quotient(q, negate_if(b_size % c_size, b_sign), is_signed && (q >> 31u) != 0u, true);
}

fn limb_sum(x: u32) -> u32 {
    return limb(x, 0u) + limb(x, 1u) + limb(x, 2u) + limb(x, 3u);
}

fn fill(row: u32, record: u32) {
    put_registers(row, record);
    let at = record + MUL_RECORD;
    put_div_rem(row, records[at], records[at + 1u], records[at + 2u] & 0xffu);
}

fn put_div_rem(row: u32, b: u32, c: u32, opcode: u32) {
    let is_signed = opcode == DIV || opcode == REM;
    let b_sign = is_signed && (b >> 31u) != 0u;
    let c_sign = is_signed && (c >> 31u) != 0u;
    let quotient = divide(b, c, is_signed);
    let r_is_zero = quotient.r == 0u && c != 0u;
    put_limbs(row, MUL_WIDTH, b);
    put_limbs(row, MUL_WIDTH + 4u, c);
    put_limbs(row, MUL_WIDTH + 8u, quotient.q);
    put_limbs(row, MUL_WIDTH + 12u, quotient.r);
    put_bool(row, MUL_WIDTH + 16u, c == 0u);
    put_bool(row, MUL_WIDTH + 17u, r_is_zero);
    put_bool(row, MUL_WIDTH + 18u, b_sign);
    put_bool(row, MUL_WIDTH + 19u, c_sign);
    put_bool(row, MUL_WIDTH + 20u, quotient.q_sign);
    put_bool(row, MUL_WIDTH + 21u, b_sign != c_sign);
    put(row, MUL_WIDTH + 22u, f_inverse(f_from_u32(limb_sum(c))));
    put(row, MUL_WIDTH + 23u, f_inverse(f_from_u32(limb_sum(quotient.r))));
    let r_size = negate_if(quotient.r, b_sign != c_sign);
    put_limbs(row, MUL_WIDTH + 24u, r_size);
    for (var i = 0u; i < 4u; i++) {
        put(row, MUL_WIDTH + 28u + i, f_neg(f_inverse(f_from_u32(256u - limb(r_size, i)))));
    }
    put_remainder_bound(row, c, r_size, c_sign, quotient.is_ordinary && !r_is_zero);
    put_marker(row, MUL_WIDTH + 37u, 4u, opcode);
    count_products(c, quotient, is_signed);
    if is_signed {
        count_bytes((limb(b, 3u) & 0x7fu) << 1u, (limb(c, 3u) & 0x7fu) << 1u);
    }
}

/// The highest byte in which remainder and divisor differ, and by how much.
fn put_remainder_bound(row: u32, c: u32, r: u32, c_sign: bool, is_checked: bool) {
    var at = 4u;
    var difference = 0u;
    if is_checked {
        at = firstLeadingBit(c ^ r) / 8u;
        difference = select(limb(c, at) - limb(r, at), limb(r, at) - limb(c, at), c_sign);
        count_bytes(difference - 1u, 0u);
    }
    put_marker(row, MUL_WIDTH + 32u, 4u, at);
    put_u32(row, MUL_WIDTH + 36u, difference);
}

/// The carries of c q + r.
fn count_products(c: u32, quotient: Quotient, is_signed: bool) {
    let c_sign = sign_byte(c, is_signed);
    let q_sign = select(0u, 0xffu, quotient.q_sign && is_signed);
    let r_sign = sign_byte(quotient.r, is_signed);
    var carry = 0u;
    for (var i = 0u; i < 8u; i++) {
        let of_r = select(r_sign, limb(quotient.r, i & 3u), i < 4u);
        carry = (carry + of_r + product_limb(c, quotient.q, c_sign, q_sign, i)) >> 8u;
        count_tuple(limb(select(quotient.r, quotient.q, i < 4u), i & 3u), carry);
    }
}
