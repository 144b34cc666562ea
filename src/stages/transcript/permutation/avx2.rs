//! The permutation with AVX2: words 0 to 7 in one vector, 8 to 15 in another.
//!
//! What counts is the length of the chain of dependent operations. Products are signed: operands in (-p, p) give a Montgomery product in
//! (-p, p) without a correction. An internal round waits for one S-box of a single word, in the processor's integer unit.

use std::arch::x86_64::*;

use super::{Constants, State, P, P_INVERSE};

type Words = [__m256i; 2];

/// The permutation.
#[target_feature(enable = "avx2")]
pub(super) fn permute(state: &mut State, constants: &Constants) {
    let (first, last) = constants.external.split_at(4);
    let mut words = external_matrix(bytemuck::cast(*state), [_mm256_setzero_si256(); 2]);
    words = external_rounds(words, first);
    words = internal_rounds(words, constants);
    words = external_rounds(words, last);
    *state = bytemuck::cast(words);
}

#[inline]
#[target_feature(enable = "avx2")]
fn external_rounds(words: Words, constants: &[State]) -> Words {
    let mut words = add_words(words, bytemuck::cast(constants[0]));
    for round in 1..=constants.len() {
        // those of the next round; added beside the sum that the matrix needs
        let next = constants.get(round).copied().unwrap_or_default();
        words = external_matrix([sbox(words[0]), sbox(words[1])], bytemuck::cast(next));
    }
    words
}

/// The circulant (2 3 1 1) within fours, then to each word the sum of the words four apart; and constants.
#[inline]
#[target_feature(enable = "avx2")]
fn external_matrix(words: Words, constants: Words) -> Words {
    let fours = [circulant(words[0]), circulant(words[1])];
    let sum = add(fours[0], fours[1]);
    let sum = add(sum, _mm256_permute2x128_si256::<1>(sum, sum));
    add_words(add_words(fours, constants), [sum; 2])
}

/// 2 x_i + 3 x_(i+1) + x_(i+2) + x_(i+3) within fours.
#[inline]
#[target_feature(enable = "avx2")]
fn circulant(x: __m256i) -> __m256i {
    let next = _mm256_shuffle_epi32::<0b00_11_10_01>(x);
    let pair = add(x, next);
    let all = add(pair, _mm256_shuffle_epi32::<0b01_00_11_10>(pair));
    add(all, add(pair, next))
}

/// The internal rounds: s0' = rest - u and o' = d o + t, with o the words but word 0, rest their sum, u = sbox(s0 + c) and t = rest + u. So
/// rest' = sum(d o) + 15 t, which is known before the next u. (Word 0 of d is 0.)
#[inline]
#[target_feature(enable = "avx2")]
fn internal_rounds(words: Words, constants: &Constants) -> Words {
    let p = i64::from(P);
    let diagonal: Words = bytemuck::cast(constants.diagonal);
    let mut others = [_mm256_blend_epi32::<1>(words[0], _mm256_setzero_si256()), words[1]];
    let mut rest = sum(others) % p;
    // s0 + c = minuend - u
    let (mut minuend, mut u) = (i64::from(_mm256_cvtsi256_si32(words[0])), 0);
    for constant in constants.internal {
        let scaled = [canonical(mul(others[0], diagonal[0])), canonical(mul(others[1], diagonal[1]))];
        let scaled_sum = sum(scaled);
        minuend = (minuend + i64::from(constant)) % p;
        u = sbox_of_one(minuend - u);
        minuend = rest;
        let t = (rest + u) % p;
        rest = (scaled_sum + 15 * t) % p;
        others = add_words(scaled, [_mm256_set1_epi32(t as i32); 2]);
    }
    let s0 = _mm256_zextsi128_si256(_mm_cvtsi64_si128((minuend - u + p) % p));
    [_mm256_blend_epi32::<1>(others[0], s0), others[1]]
}

/// The sum of all words.
#[inline]
#[target_feature(enable = "avx2")]
fn sum(words: Words) -> i64 {
    // two words are less than 2^32
    let pairs = _mm256_add_epi32(words[0], words[1]);
    let low = _mm256_and_si256(pairs, _mm256_set1_epi64x(0xffff_ffff));
    let fours = _mm256_add_epi64(low, _mm256_srli_epi64::<32>(pairs));
    let eights = _mm_add_epi64(_mm256_castsi256_si128(fours), _mm256_extracti128_si256::<1>(fours));
    _mm_cvtsi128_si64(_mm_add_epi64(eights, _mm_unpackhi_epi64(eights, eights)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_words(a: Words, b: Words) -> Words {
    [add(a[0], b[0]), add(a[1], b[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    let sum = _mm256_add_epi32(a, b);
    _mm256_min_epu32(sum, _mm256_sub_epi32(sum, _mm256_set1_epi32(P as i32)))
}

/// From (-p, p) to [0, p).
#[inline]
#[target_feature(enable = "avx2")]
fn canonical(x: __m256i) -> __m256i {
    _mm256_min_epu32(x, _mm256_add_epi32(x, _mm256_set1_epi32(P as i32)))
}

/// The Montgomery products, those of the even and those of the odd words for themselves.
#[inline]
#[target_feature(enable = "avx2")]
fn mul(a: __m256i, b: __m256i) -> __m256i {
    let even = mul_even(a, b);
    let odd = mul_even(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd)
}

/// The Montgomery products of the even words, in the places of the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn mul_even(a: __m256i, b: __m256i) -> __m256i {
    let products = _mm256_mul_epi32(a, b);
    let quotients = _mm256_mul_epi32(products, _mm256_set1_epi32(P_INVERSE as i32));
    _mm256_sub_epi64(products, _mm256_mul_epi32(quotients, _mm256_set1_epi32(P as i32)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sbox(x: __m256i) -> __m256i {
    let x2 = mul(x, x);
    canonical(mul(mul(x2, x), mul(x2, x2)))
}

/// The S-box of a word in (-p, p), in [0, p).
#[inline]
fn sbox_of_one(x: i64) -> i64 {
    let mul = |a: i64, b: i64| {
        let product = a * b;
        let quotient = (product as i32).wrapping_mul(P_INVERSE as i32);
        (product - i64::from(quotient) * i64::from(P)) >> 32
    };
    let x2 = mul(x, x);
    let x7 = mul(mul(x2, x), mul(x2, x2));
    x7 + (x7 >> 63 & i64::from(P))
}
