// Products of registers byte by byte, with signs and without carries.
#import openvm/row

/// The part of x y that belongs to byte `i` of eight, without carries; bytes 4 to 7 of x and y are `x_sign` and `y_sign`.
fn product_limb(x: u32, y: u32, x_sign: u32, y_sign: u32, i: u32) -> u32 {
    var sum = 0u;
    for (var j = 0u; j <= i; j++) {
        let of_x = select(x_sign, limb(x, j & 3u), j < 4u);
        let of_y = select(y_sign, limb(y, (i - j) & 3u), i - j < 4u);
        sum += of_x * of_y;
    }
    return sum;
}

/// 255 where the highest bit is set and counts.
fn sign_byte(x: u32, is_signed: bool) -> u32 {
    return select(0u, 0xffu, is_signed && (x >> 31u) != 0u);
}
