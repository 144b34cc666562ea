//! Poseidon2 for one state on the host, which hashes what has no parallelism: replayed transcripts and the openings of wide AIRs.
//!
//! The same permutation as p3's `default_babybear_poseidon2_16`, which takes 1.4 us for one state on an AMD EPYC of 2.5 GHz; here 0.37 us with
//! AVX2, 1.2 us without.

#[cfg(target_arch = "x86_64")]
mod avx2;

use std::sync::LazyLock;

use openvm_stark_backend::p3_symmetric::{CryptographicPermutation, Permutation};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_baby_bear::BABYBEAR_RC16_INTERNAL;

use crate::{
    gpu::{as_words, as_words_mut},
    kernels::poseidon2::{diagonal, external_constants},
};

const WIDTH: usize = 16;

type State = [u32; WIDTH];

/// The permutation of BabyBear's Poseidon2 of width 16, for one state at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostPoseidon2;

impl Permutation<[F; WIDTH]> for HostPoseidon2 {
    fn permute_mut(&self, state: &mut [F; WIDTH]) {
        let words = as_words_mut(state).try_into().expect("16 words");
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2
            return unsafe { avx2::permute(words, &CONSTANTS) };
        }
        permute(words, &CONSTANTS);
    }
}

impl CryptographicPermutation<[F; WIDTH]> for HostPoseidon2 {}

/// Constants in Montgomery form.
struct Constants {
    external: [State; 8],
    internal: [u32; 13],
    /// Of the internal matrix, less the identity's part; 0 for word 0.
    diagonal: State,
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let state = |words: [F; WIDTH]| as_words(&words).try_into().expect("16 words");
    let external: Vec<State> = external_constants().map(state).collect();
    Constants {
        external: external.try_into().expect("8 rounds"),
        internal: as_words(&BABYBEAR_RC16_INTERNAL).try_into().expect("13 rounds"),
        diagonal: state(diagonal()),
    }
});

/// On any processor, in loops over words that the compiler vectorizes.
fn permute(state: &mut State, constants: &Constants) {
    let (first, last) = constants.external.split_at(4);
    external_matrix(state);
    for round in first {
        external_round(state, round);
    }
    internal_rounds(state, constants);
    for round in last {
        external_round(state, round);
    }
}

#[inline(always)]
fn external_round(state: &mut State, constants: &State) {
    for (word, constant) in state.iter_mut().zip(constants) {
        *word = sbox(add(*word, *constant));
    }
    external_matrix(state);
}

/// The circulant (2 3 1 1) within fours, then to each word the sum of the words four apart.
#[inline(always)]
fn external_matrix(state: &mut State) {
    for four in state.chunks_exact_mut(4) {
        let [a, b, c, d] = [four[0], four[1], four[2], four[3]];
        let (ab, cd) = (add(a, b), add(c, d));
        let all = add(ab, cd);
        let (all_b, all_d) = (add(all, b), add(all, d));
        four.copy_from_slice(&[add(all_b, ab), add(all_b, add(c, c)), add(all_d, cd), add(all_d, add(a, a))]);
    }
    let sums: [u32; 4] = std::array::from_fn(|k| add(add(state[k], state[k + 4]), add(state[k + 8], state[k + 12])));
    for (i, word) in state.iter_mut().enumerate() {
        *word = add(*word, sums[i % 4]);
    }
}

/// The internal rounds: s0' = rest - u and o' = d o + rest + u, with o the words but word 0, rest their sum and u = sbox(s0 + c).
/// Word 0 is kept apart, so that the others' sum does not wait for the S-box.
#[inline(always)]
fn internal_rounds(state: &mut State, constants: &Constants) {
    let mut s0 = std::mem::take(&mut state[0]);
    for constant in constants.internal {
        let rest = (state.iter().map(|word| u64::from(*word)).sum::<u64>() % u64::from(P)) as u32;
        let u = sbox(add(s0, constant));
        let sum = add(rest, u);
        for (word, entry) in state.iter_mut().zip(constants.diagonal) {
            *word = add(sum, mul(*word, entry));
        }
        state[0] = 0;
        s0 = sub(rest, u);
    }
    state[0] = s0;
}

/// BabyBear's order.
const P: u32 = 0x7800_0001;
/// 1 / P modulo 2^32.
const P_INVERSE: u32 = 0x8800_0001;

#[inline(always)]
fn add(a: u32, b: u32) -> u32 {
    let sum = a + b;
    sum.min(sum.wrapping_sub(P))
}

#[inline(always)]
fn sub(a: u32, b: u32) -> u32 {
    let difference = a.wrapping_sub(b);
    difference.min(difference.wrapping_add(P))
}

/// The Montgomery product.
#[inline(always)]
fn mul(a: u32, b: u32) -> u32 {
    let product = u64::from(a) * u64::from(b);
    let quotient = (product as u32).wrapping_mul(P_INVERSE);
    let multiple = (u64::from(quotient) * u64::from(P)) >> 32;
    sub((product >> 32) as u32, multiple as u32)
}

#[inline(always)]
fn sbox(x: u32) -> u32 {
    let x2 = mul(x, x);
    mul(mul(x2, x), mul(x2, x2))
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::FiatShamirTranscript;
    use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, BabyBearPoseidon2Config as SC};
    use p3_baby_bear::default_babybear_poseidon2_16;
    use p3_field::{PrimeCharacteristicRing, PrimeField32};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::{super::HostTranscript, *};

    #[test]
    fn it_is_the_permutation_of_p3() {
        let upstream = default_babybear_poseidon2_16();
        let mut rng = StdRng::seed_from_u64(7);
        let largest = -F::ONE;
        let random: Vec<[F; WIDTH]> =
            (0..1000).map(|_| std::array::from_fn(|_| F::from_u32(rng.random_range(0..F::ORDER_U32)))).collect();
        for state in random.into_iter().chain([[F::ZERO; WIDTH], [largest; WIDTH]]) {
            let (mut found, mut expected) = (state, state);
            // twice, so that the outputs are inputs, too
            for _ in 0..2 {
                let mut portable: State = as_words(&found).try_into().unwrap();
                permute(&mut portable, &CONSTANTS);
                HostPoseidon2.permute_mut(&mut found);
                upstream.permute_mut(&mut expected);
                assert_eq!(found, expected, "{state:?}");
                assert_eq!(portable, as_words(&expected), "{state:?}");
            }
        }
    }

    #[test]
    fn the_default_transcript_is_upstreams() {
        let (mut found, mut expected) = (HostTranscript::default(), default_duplex_sponge());
        for i in 0..40 {
            for word in 0..i {
                found.observe(F::from_u32(word));
                FiatShamirTranscript::<SC>::observe(&mut expected, F::from_u32(word));
            }
            for _ in 0..i % 11 {
                assert_eq!(found.sample(), FiatShamirTranscript::<SC>::sample(&mut expected), "after {i} words");
            }
            let digest = std::array::from_fn(F::from_usize);
            found.observe_commit(digest);
            FiatShamirTranscript::<SC>::observe_commit(&mut expected, digest);
        }
        assert_eq!(found.sample(), FiatShamirTranscript::<SC>::sample(&mut expected));
    }
}
