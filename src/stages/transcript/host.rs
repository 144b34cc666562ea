//! What the device needs of the caller's transcript: its sponge.

use openvm_stark_backend::{transcript::duplex_sponge, FiatShamirTranscript};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_baby_bear::Poseidon2BabyBear;

use super::SC;
use crate::{error::Result, gpu::Gpu, kernels::transcript::DeviceSponge};

/// A transcript whose sponge state can be reached, so that the device can continue it.
pub trait SpongeTranscript: FiatShamirTranscript<SC> {
    /// The state of the duplex sponge (width 16, rate 8, overwrite mode).
    fn sponge(&self) -> Sponge;
}

/// The state of upstream's `DuplexSponge`.
#[derive(Clone, Copy, Debug)]
pub struct Sponge {
    /// The permutation's words.
    pub state: [F; 16],
    /// Words absorbed since the last permutation, below 8.
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

impl SpongeTranscript for duplex_sponge::DuplexSponge<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        Sponge { state: *self.state(), absorb_index: self.absorb_idx(), sample_index: self.sample_idx() }
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeRecorder<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeValidator<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}
