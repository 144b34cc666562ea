//! Plain arithmetic: number theory by trial.

use super::checksum::{Checksum, Random};

/// For `size` odd numbers below 2^20, drawn at random: the steps of its Collatz sequence and the highest number on the way, Fermat's test to
/// base 2, and its greatest common divisor with the number before.
pub fn arithmetic(size: u64) -> [u8; 32] {
    let mut random = Random::new(1);
    let mut checksum = Checksum::new();
    let mut previous = 1;
    for _ in 0..size {
        let number = (random.word() & 0xf_ffff) | 1;
        let (steps, highest) = collatz(number);
        checksum.add(steps);
        checksum.add(highest as u32 ^ (highest >> 32) as u32);
        checksum.add(power(2, number - 1, number));
        checksum.add(common_divisor(number, previous));
        previous = number;
    }
    checksum.bytes()
}

fn collatz(number: u32) -> (u32, u64) {
    let mut value = u64::from(number);
    let (mut steps, mut highest) = (0, value);
    while value != 1 {
        value = if value % 2 == 0 { value / 2 } else { 3 * value + 1 };
        highest = highest.max(value);
        steps += 1;
    }
    (steps, highest)
}

/// `base^exponent` modulo `modulus`, which is less than 2^20.
fn power(mut base: u32, mut exponent: u32, modulus: u32) -> u32 {
    let mut result = 1 % modulus;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = product(result, base, modulus);
        }
        base = product(base, base, modulus);
        exponent /= 2;
    }
    result
}

/// A product of numbers of 20 bits, modulo one of 20 bits, in words: twice ten bits at a time.
fn product(left: u32, right: u32, modulus: u32) -> u32 {
    let high = (left * (right >> 10)) % modulus;
    ((high << 10) % modulus + (left * (right & 0x3ff)) % modulus) % modulus
}

fn common_divisor(mut left: u32, mut right: u32) -> u32 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}
