//! What the device needs of the caller's transcript: its sponge; and the transcript that engines have by default.

use openvm_stark_backend::{transcript::duplex_sponge, FiatShamirTranscript};
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};
use p3_baby_bear::Poseidon2BabyBear;

use super::{permutation::HostPoseidon2, SC};
use crate::{
    error::Result,
    gpu::Gpu,
    kernels::{
        poseidon2::{RATE, WIDTH},
        transcript::DeviceSponge,
    },
};

/// A transcript whose sponge state can be reached, so that the device can continue it.
pub trait SpongeTranscript: FiatShamirTranscript<SC> {
    /// The state of the duplex sponge (width 16, rate 8, overwrite mode).
    fn sponge(&self) -> Sponge;
}

/// What the replay needs of the caller's transcript: so that stages need not know which one it is.
pub(super) trait Replay {
    /// Observes words.
    fn observe(&mut self, words: &[F]);

    /// Samples as many words; the first that differs.
    fn first_other_sample(&mut self, words: &[F]) -> Option<usize>;

    /// Observes a proof-of-work witness and samples the word that it must give; whether it has the bits.
    fn check_witness(&mut self, bits: usize, witness: F) -> bool;

    /// As [`SpongeTranscript::sponge`].
    fn state(&self) -> Sponge;
}

impl<TS: SpongeTranscript> Replay for TS {
    fn observe(&mut self, words: &[F]) {
        words.iter().for_each(|word| FiatShamirTranscript::observe(self, *word));
    }

    fn first_other_sample(&mut self, words: &[F]) -> Option<usize> {
        words.iter().position(|word| self.sample() != *word)
    }

    fn check_witness(&mut self, bits: usize, witness: F) -> bool {
        FiatShamirTranscript::check_witness(self, bits, witness)
    }

    fn state(&self) -> Sponge {
        self.sponge()
    }
}

/// The state of upstream's `DuplexSponge`.
#[derive(Clone, Copy, Debug)]
pub struct Sponge {
    /// The permutation's words.
    pub state: [F; WIDTH],
    /// Words absorbed since the last permutation, below the rate of 8.
    pub absorb_index: usize,
    /// Words of the rate still to be squeezed, at most 8.
    pub sample_index: usize,
}

impl Sponge {
    /// Its twin on the device.
    pub(super) fn upload(&self, gpu: &Gpu) -> Result<DeviceSponge> {
        Ok(DeviceSponge {
            state: gpu.upload(&self.state, "sponge")?,
            absorb_index: self.absorb_index,
            sample_index: self.sample_index,
        })
    }
}

impl<P> SpongeTranscript for duplex_sponge::DuplexSponge<F, P, WIDTH, RATE>
where
    Self: FiatShamirTranscript<SC>,
{
    fn sponge(&self) -> Sponge {
        Sponge { state: *self.state(), absorb_index: self.absorb_idx(), sample_index: self.sample_idx() }
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeRecorder<F, Poseidon2BabyBear<WIDTH>, WIDTH, RATE> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeValidator<F, Poseidon2BabyBear<WIDTH>, WIDTH, RATE> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}

/// Upstream's `DuplexSponge` with a permutation that is made for single states; gives the same proofs in less time.
#[derive(Clone, Debug)]
pub struct HostTranscript(duplex_sponge::DuplexSponge<F, HostPoseidon2, WIDTH, RATE>);

impl Default for HostTranscript {
    fn default() -> Self {
        Self(HostPoseidon2.into())
    }
}

/// As engines and upstream's tests make transcripts: there is only this permutation.
impl From<Poseidon2BabyBear<WIDTH>> for HostTranscript {
    fn from(_: Poseidon2BabyBear<WIDTH>) -> Self {
        Self::default()
    }
}

impl FiatShamirTranscript<SC> for HostTranscript {
    fn observe(&mut self, value: F) {
        self.0.absorb(value);
    }

    fn sample(&mut self) -> F {
        self.0.squeeze()
    }

    fn observe_commit(&mut self, digest: Digest) {
        FiatShamirTranscript::<SC>::observe_commit(&mut self.0, digest);
    }
}

impl SpongeTranscript for HostTranscript {
    fn sponge(&self) -> Sponge {
        self.0.sponge()
    }
}
