//! Work on 256-bit integers, whoever does their arithmetic.

use super::checksum::{Checksum, Random};

/// A 256-bit integer whose operations wrap. Shifts are by the lowest eight bits of the other number.
pub trait Wide: Clone {
    fn from_le_bytes(bytes: [u8; 32]) -> Self;
    fn to_le_bytes(&self) -> [u8; 32];
    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    fn mul(&self, other: &Self) -> Self;
    fn xor(&self, other: &Self) -> Self;
    fn and(&self, other: &Self) -> Self;
    fn or(&self, other: &Self) -> Self;
    fn shl(&self, other: &Self) -> Self;
    fn shr(&self, other: &Self) -> Self;
    /// Shifts to the right and repeats the highest bit.
    fn sar(&self, other: &Self) -> Self;
    fn equals(&self, other: &Self) -> bool;
    fn is_less_than(&self, other: &Self) -> bool;
}

fn small<W: Wide>(number: u32) -> W {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    W::from_le_bytes(bytes)
}

/// `size` steps of a generator that uses all operations; every eighth step divides.
pub fn wide<W: Wide>(size: u64) -> [u8; 32] {
    let mut random = Random::new(6);
    let factor = W::from_le_bytes(random.number()).or(&small(5));
    let increment = W::from_le_bytes(random.number());
    let mut state = W::from_le_bytes(random.number());
    let mut other = W::from_le_bytes(random.number());
    let mut smaller = 0;
    let mut checksum = Checksum::new();
    for step in 0..size {
        state = state.mul(&factor).add(&increment);
        let shift = small(random.word() & 0xff);
        other = match step % 4 {
            0 => other.xor(&state.shr(&shift)),
            1 => other.sub(&state.shl(&shift)),
            2 => other.or(&state.sar(&shift)).sub(&state),
            _ => other.and(&state).xor(&increment.mul(&state)),
        };
        smaller += u32::from(other.is_less_than(&state));
        if step % 8 == 7 {
            let divisor = other.shr(&small(240)).or(&small(3));
            let (quotient, remainder) = divide(&state, &divisor);
            assert!(quotient.mul(&divisor).add(&remainder).equals(&state), "quotient and remainder make the number");
            other = other.xor(&quotient).add(&remainder);
            checksum.add_bytes(&other.to_le_bytes());
        }
    }
    checksum.add_bytes(&state.to_le_bytes());
    checksum.add_bytes(&other.to_le_bytes());
    checksum.add(smaller);
    checksum.bytes()
}

/// Quotient and remainder for a divisor from 3 to 2^16: the quotient is approached from below, 16 bits at a time.
fn divide<W: Wide>(number: &W, divisor: &W) -> (W, W) {
    let divisor_word = lowest_word(divisor);
    let inverse: W = small(u32::MAX / divisor_word);
    let (word, zero): (W, W) = (small(32), small(0));
    let (mut quotient, mut rest) = (zero.clone(), number.clone());
    loop {
        let high = rest.shr(&word);
        if high.equals(&zero) {
            let low = lowest_word(&rest);
            return (quotient.add(&small(low / divisor_word)), small(low % divisor_word));
        }
        let step = high.mul(&inverse);
        quotient = quotient.add(&step);
        rest = rest.sub(&step.mul(divisor));
    }
}

fn lowest_word<W: Wide>(number: &W) -> u32 {
    let bytes = number.to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
