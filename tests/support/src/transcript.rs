//! A transcript whose proof of work is a function of its state.
//!
//! Upstream's `grind` takes whichever witness a thread finds first, so two runs of its prover on
//! one input give two proofs. The wgpu prover takes the smallest witness. Run upstream's reference
//! prover with [`SmallestWitness`] and the two proofs are equal, byte for byte.

use openvm_stark_backend::{p3_symmetric::Permutation, FiatShamirTranscript};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    poseidon2_perm, BabyBearPoseidon2Config as SC, Digest, DuplexSponge, F,
};
use p3_baby_bear::Poseidon2BabyBear;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rayon::prelude::*;

const WIDTH: usize = 16;
const RATE: usize = 8;

/// Candidates tried between two looks at the result. Large enough that the threads' start-up is
/// small beside 2^14 permutations (8 ms on one core), small enough that little is searched in vain.
const CANDIDATES_PER_BLOCK: u32 = 1 << 14;

/// Upstream's [`DuplexSponge`], grinding for the smallest witness.
#[derive(Clone, Debug)]
pub struct SmallestWitness(DuplexSponge);

impl From<Poseidon2BabyBear<WIDTH>> for SmallestWitness {
    fn from(perm: Poseidon2BabyBear<WIDTH>) -> Self {
        Self(DuplexSponge::from(perm))
    }
}

impl From<DuplexSponge> for SmallestWitness {
    fn from(sponge: DuplexSponge) -> Self {
        Self(sponge)
    }
}

impl SmallestWitness {
    /// The sponge as it stands.
    pub fn sponge(&self) -> &DuplexSponge {
        &self.0
    }

    /// Would `witness` pass `check_witness(bits, witness)` in this state?
    ///
    /// Absorbing one value and squeezing one costs exactly one permutation, whatever
    /// `absorb_idx` is, and the value squeezed first is the last word of the rate.
    fn accepts(&self, bits: usize, witness: u32) -> bool {
        let mut state = *self.0.state();
        state[self.0.absorb_idx()] = F::from_u32(witness);
        poseidon2_perm().permute_mut(&mut state);
        state[RATE - 1].as_canonical_u32() & ((1 << bits) - 1) == 0
    }
}

impl FiatShamirTranscript<SC> for SmallestWitness {
    fn observe(&mut self, value: F) {
        FiatShamirTranscript::<SC>::observe(&mut self.0, value);
    }

    fn sample(&mut self) -> F {
        FiatShamirTranscript::<SC>::sample(&mut self.0)
    }

    fn observe_commit(&mut self, digest: Digest) {
        FiatShamirTranscript::<SC>::observe_commit(&mut self.0, digest);
    }

    fn grind(&mut self, bits: usize) -> F {
        if bits == 0 {
            return F::ZERO;
        }
        let witness = (0..F::ORDER_U32)
            .step_by(CANDIDATES_PER_BLOCK as usize)
            .find_map(|start| {
                let end = F::ORDER_U32.min(start + CANDIDATES_PER_BLOCK);
                (start..end).into_par_iter().find_first(|&witness| self.accepts(bits, witness))
            })
            .map(F::from_u32)
            .expect("a witness exists for every difficulty in use");
        assert!(self.check_witness(bits, witness), "the sponge disagrees about witness {witness}");
        witness
    }
}
