//! 256-bit integers by the instructions of extension bigint.

use core::cmp::Ordering;

use guest_programs::work::wide::Wide;
use openvm_bigint_guest as _; // defines the functions below

extern "C" {
    fn zkvm_u256_wrapping_add_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_wrapping_sub_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_wrapping_mul_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_bitxor_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_bitand_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_bitor_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_wrapping_shl_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_wrapping_shr_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_arithmetic_shr_impl(result: *mut u8, a: *const u8, b: *const u8);
    fn zkvm_u256_eq_impl(a: *const u8, b: *const u8) -> bool;
    fn zkvm_u256_cmp_impl(a: *const u8, b: *const u8) -> Ordering;
}

/// Little-endian, aligned as the instructions want it.
#[derive(Clone)]
#[repr(C, align(4))]
pub struct U256([u8; 32]);

type Operation = unsafe extern "C" fn(*mut u8, *const u8, *const u8);

impl U256 {
    #[inline(always)]
    fn apply(&self, operation: Operation, other: &Self) -> Self {
        let mut result = Self([0; 32]);
        // SAFETY: three aligned buffers of 32 bytes
        unsafe { operation(result.0.as_mut_ptr(), self.0.as_ptr(), other.0.as_ptr()) };
        result
    }
}

impl Wide for U256 {
    fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    fn to_le_bytes(&self) -> [u8; 32] {
        self.0
    }
    fn add(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_wrapping_add_impl, other)
    }
    fn sub(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_wrapping_sub_impl, other)
    }
    fn mul(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_wrapping_mul_impl, other)
    }
    fn xor(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_bitxor_impl, other)
    }
    fn and(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_bitand_impl, other)
    }
    fn or(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_bitor_impl, other)
    }
    fn shl(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_wrapping_shl_impl, other)
    }
    fn shr(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_wrapping_shr_impl, other)
    }
    fn sar(&self, other: &Self) -> Self {
        self.apply(zkvm_u256_arithmetic_shr_impl, other)
    }
    fn equals(&self, other: &Self) -> bool {
        // SAFETY: two aligned buffers of 32 bytes
        unsafe { zkvm_u256_eq_impl(self.0.as_ptr(), other.0.as_ptr()) }
    }
    fn is_less_than(&self, other: &Self) -> bool {
        // SAFETY: as above
        unsafe { zkvm_u256_cmp_impl(self.0.as_ptr(), other.0.as_ptr()) == Ordering::Less }
    }
}
