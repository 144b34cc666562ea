//! Integers as upstream's AIRs have them: sums of limbs times powers of 256, where limbs may be negative or larger than a byte.

/// Adds a product to `sum`, limb by limb; `sum` has at least as many limbs as the product.
///
/// All partial sums must fit 32 bits.
pub(super) fn add_product(sum: &mut [i32], a: &[i32], b: &[i32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has it
        return unsafe { add_product_with_avx2(sum, a, b) };
    }
    add_product_anywhere(sum, a, b);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_product_with_avx2(sum: &mut [i32], a: &[i32], b: &[i32]) {
    add_product_anywhere(sum, a, b);
}

#[inline(always)]
fn add_product_anywhere(sum: &mut [i32], a: &[i32], b: &[i32]) {
    for (i, x) in a.iter().enumerate() {
        for (sum, y) in sum[i..i + b.len()].iter_mut().zip(b) {
            *sum += x * y;
        }
    }
}

/// 1 / `odd` mod 2^(64 `words`).
pub(super) fn inverse(odd: &[u64], words: usize) -> Vec<u64> {
    let (mut inverse, mut next, mut product) = (vec![0; words], vec![0; words], vec![0; words]);
    // right in three bits, and in twice as many after each step
    inverse[0] = odd[0];
    let mut bits = 3;
    while bits < 64 * words {
        low_product(odd, &inverse, &mut product);
        // 2 - product
        let mut borrow = 2i128;
        for word in &mut product {
            borrow -= i128::from(*word);
            *word = borrow as u64;
            borrow >>= 64;
        }
        low_product(&product, &inverse, &mut next);
        std::mem::swap(&mut inverse, &mut next);
        bits *= 2;
    }
    inverse
}

/// The lowest words of a b.
pub(super) fn low_product(a: &[u64], b: &[u64], product: &mut [u64]) {
    product.fill(0);
    for (i, x) in a.iter().enumerate().take(product.len()) {
        let mut carry = 0u128;
        for (sum, y) in product[i..].iter_mut().zip(b) {
            carry += u128::from(*sum) + u128::from(*x) * u128::from(*y);
            *sum = carry as u64;
            carry >>= 64;
        }
        if let Some(sum) = product.get_mut(i + b.len()) {
            *sum = carry as u64;
        }
    }
}

/// The lowest words of an integer, in two's complement.
pub(super) fn low_words(limbs: &[i32], words: &mut [u64]) {
    let mut carry = 0i32;
    let mut limbs = limbs.iter();
    for word in words {
        *word = 0;
        for shift in (0..64).step_by(8) {
            carry += limbs.next().unwrap_or(&0);
            *word |= u64::from(carry as u8) << shift;
            carry >>= 8;
        }
    }
}

/// The limbs of an integer in two's complement, which all have its sign; false if there are too few of them.
pub(super) fn signed_limbs(words: &mut [u64], limbs: &mut [i32]) -> bool {
    let is_negative = words.last().is_some_and(|word| word >> 63 == 1);
    if is_negative {
        let mut carry = true;
        for word in words.iter_mut() {
            (*word, carry) = (!*word).overflowing_add(u64::from(carry));
        }
    }
    let sign = if is_negative { -1 } else { 1 };
    let byte = |i: usize| (words[i / 8] >> (8 * (i % 8))) as u8;
    for (i, limb) in limbs.iter_mut().enumerate() {
        *limb = sign * i32::from(byte(i));
    }
    (limbs.len()..8 * words.len()).all(|i| byte(i) == 0)
}

/// The carries of an integer that should be 0, each that of a limb and those below; false if it is not.
pub(super) fn carries_of_zero(limbs: &[i32], carries: &mut [i32]) -> bool {
    let (mut carry, mut rests) = (0, 0);
    for (limb, place) in limbs.iter().zip(carries) {
        let sum = carry + limb;
        rests |= sum & 0xff;
        carry = sum >> 8;
        *place = carry;
    }
    rests == 0 && carry == 0
}
