//! The types that upstream's backend traits ask for.

use std::sync::Arc;

use openvm_stark_backend::prover::{DeviceStarkProvingKey, ProverBackend};
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, D_EF, EF, F};

pub use crate::gpu::DeviceMatrix;
use crate::{
    error::{Error, Result},
    kernels::constraints::AirEvaluator,
    stages::pcs::PcsData,
};

/// BabyBear with its quartic extension and Poseidon2 commitments on any GPU that wgpu reaches.
#[derive(Clone, Copy, Debug, Default)]
pub struct WgpuBackend;

/// What is prepared once per AIR: its constraints compiled for the device, or why that failed (the traits' signatures cannot tell
/// before the proof).
pub struct AirData {
    evaluator: Result<AirEvaluator, Arc<Error>>,
}

impl AirData {
    pub(crate) fn new(evaluator: Result<AirEvaluator>) -> Self {
        Self { evaluator: evaluator.map_err(Arc::new) }
    }

    /// The compiled constraints.
    ///
    /// # Errors
    ///
    /// What made the compilation fail.
    pub(crate) fn evaluator(&self) -> Result<&AirEvaluator> {
        self.evaluator.as_ref().map_err(|error| Error::Deferred(error.clone()))
    }
}

/// What the prover keeps of a commitment, or why its transport failed.
#[derive(Clone)]
pub struct CommittedData {
    data: Result<PcsData, Arc<Error>>,
}

impl CommittedData {
    pub(crate) fn new(data: Result<PcsData>) -> Self {
        Self { data: data.map_err(Arc::new) }
    }

    /// The data on the device.
    ///
    /// # Errors
    ///
    /// What made the transport fail.
    #[doc(hidden)]
    pub fn get(&self) -> Result<&PcsData> {
        self.data.as_ref().map_err(|error| Error::Deferred(error.clone()))
    }
}

impl ProverBackend for WgpuBackend {
    const CHALLENGE_EXT_DEGREE: u8 = D_EF as u8;

    type Val = F;
    type Challenge = EF;
    type Commitment = Digest;
    type Matrix = DeviceMatrix<F>;
    type OtherAirData = Arc<AirData>;
    type PcsData = CommittedData;

    /// Nothing grows with the rows: intermediate values live in registers, and the columns come in tiles of bounded memory, which
    /// upstream's estimate has as its constant. Where all AIRs say 0, it also counts 1.25 times the leaves of GKR, which is what they
    /// take here.
    fn constraint_eval_buffer_size(_pk: &DeviceStarkProvingKey<Self>) -> usize {
        0
    }
}
