//! Plain data that host and device share bit for bit.

use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};
use p3_field::PrimeField32;

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
    /// What every word is below, at most 2^31, where not every word is one. Others are not uploaded.
    const BELOW: Option<u32>;
}

// SAFETY: trivially itself.
unsafe impl Element for u32 {
    const WORDS: usize = 1;
    const BELOW: Option<u32> = None;
}
// SAFETY: p3's `MontyField31` is `repr(transparent)` over a `u32`; arithmetic reduces, so no bit pattern is undefined behaviour.
unsafe impl Element for F {
    const WORDS: usize = 1;
    const BELOW: Option<u32> = Some(F::ORDER_U32);
}
// SAFETY: p3's `BinomialExtensionField` is `repr(transparent)` over `[F; 4]`.
unsafe impl Element for EF {
    const WORDS: usize = 4;
    const BELOW: Option<u32> = F::BELOW;
}
// SAFETY: an array of eight `F`.
unsafe impl Element for Digest {
    const WORDS: usize = 8;
    const BELOW: Option<u32> = F::BELOW;
}

/// Whether all words are below `bound`, which is at most 2^31. Three operations a word, which every compiler makes vectors of.
pub(super) fn are_below(words: &[u32], bound: u32) -> bool {
    debug_assert!(bound <= 1 << 31);
    // the difference has the highest bit for words below the bound, and for some beyond 2^31, which have it themselves
    words.iter().fold(u32::MAX, |all, word| all & word.wrapping_sub(bound) & !word) >> 31 == 1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beyond_the_bound_are_found() {
        let edges =
            |bound: u32| [0, 1, bound - 1, bound, bound + 1, (1 << 31) - 1, 1 << 31, (1 << 31) + bound, u32::MAX];
        for bound in [1, 2, F::ORDER_U32, (1 << 31) - 1, 1 << 31] {
            for word in edges(bound) {
                assert_eq!(are_below(&[word], bound), word < bound, "{word} below {bound}");
                for (len, at) in [(1, 0), (3, 1), (64, 0), (67, 66), (1000, 500)] {
                    let mut words = vec![bound - 1; len];
                    words[at] = word;
                    assert_eq!(are_below(&words, bound), word < bound, "{word} at {at} of {len} below {bound}");
                }
            }
        }
        assert!(are_below(&[], 1));
    }
}
