//! Plain data that host and device share bit for bit.

use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};

/// A value whose device form is `WORDS` consecutive `u32` words, the same as its host form.
///
/// Field elements stay in Montgomery form on both sides, so nothing is ever converted.
///
/// # Safety
///
/// The implementor must be `WORDS * 4` bytes of `u32`s without padding, aligned to at most 4, and valid for any bits.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// Size in 32-bit words.
    const WORDS: usize;
}

// SAFETY: trivially itself.
unsafe impl Element for u32 {
    const WORDS: usize = 1;
}
// SAFETY: p3's `MontyField31` is `repr(transparent)` over a `u32`; arithmetic reduces, so no bit pattern is undefined behaviour.
unsafe impl Element for F {
    const WORDS: usize = 1;
}
// SAFETY: p3's `BinomialExtensionField` is `repr(transparent)` over `[F; 4]`.
unsafe impl Element for EF {
    const WORDS: usize = 4;
}
// SAFETY: an array of eight `F`.
unsafe impl Element for Digest {
    const WORDS: usize = 8;
}

/// The words of a slice of elements.
pub fn as_words<T: Element>(values: &[T]) -> &[u32] {
    const { assert!(size_of::<T>() == T::WORDS * 4 && align_of::<T>() <= 4) };
    // SAFETY: by the contract of `Element`, `values` is `len * WORDS` initialised `u32`s.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() * T::WORDS) }
}

/// The words of a slice of elements, to be changed in place.
pub fn as_words_mut<T: Element>(values: &mut [T]) -> &mut [u32] {
    const { assert!(size_of::<T>() == T::WORDS * 4 && align_of::<T>() <= 4) };
    // SAFETY: as in `as_words`, and any bits that are written are a valid `T` by the contract of `Element`.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len() * T::WORDS) }
}

/// Copies words (little-endian bytes) into elements. `bytes.len()` must be a multiple of the element's size.
pub(super) fn from_bytes<T: Element>(bytes: &[u8]) -> Vec<T> {
    const { assert!(size_of::<T>() == T::WORDS * 4) };
    assert_eq!(bytes.len() % size_of::<T>(), 0, "partial element");
    let len = bytes.len() / size_of::<T>();
    let mut out = Vec::<T>::with_capacity(len);
    // SAFETY: `out` has room for `bytes.len()` bytes, and any bits are a valid `T` by the contract of `Element`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.as_mut_ptr().cast(), bytes.len());
        out.set_len(len);
    }
    out
}

/// Elements from field words, as the transcript's tape holds them.
pub fn from_words<T: Element>(words: &[F]) -> Vec<T> {
    from_bytes(bytemuck::cast_slice(as_words(words)))
}

/// The base-field words of elements.
pub fn to_words<T: Element>(values: &[T]) -> Vec<F> {
    from_bytes(bytemuck::cast_slice(as_words(values)))
}
