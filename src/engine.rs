//! The engine: upstream's `StarkEngine` on a wgpu device.

use std::marker::PhantomData;

use openvm_stark_backend::{
    memory_metering::ProvingMemoryConfig,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, Prover, ProvingContext},
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, DuplexSponge};
use p3_baby_bear::{default_babybear_poseidon2_16, Poseidon2BabyBear};

use crate::{
    backend::WgpuBackend,
    device::WgpuDevice,
    error::{Error, Result},
    input,
    stages::transcript::SpongeTranscript,
};

type SC = BabyBearPoseidon2Config;

/// Proves on a GPU; takes the place of upstream's `BabyBearPoseidon2CpuEngine` or its CUDA twin.
///
/// `TS` is the Fiat-Shamir transcript, any one whose sponge state the device can continue.
pub struct BabyBearPoseidon2WgpuEngine<TS = DuplexSponge> {
    device: WgpuDevice,
    transcript: PhantomData<TS>,
}

impl<TS> BabyBearPoseidon2WgpuEngine<TS> {
    /// An engine on an open device; see [`WgpuDeviceBuilder`](crate::WgpuDeviceBuilder).
    pub fn from_device(device: WgpuDevice) -> Self {
        Self { device, transcript: PhantomData }
    }
}

impl<TS> StarkEngine for BabyBearPoseidon2WgpuEngine<TS>
where
    TS: SpongeTranscript + From<Poseidon2BabyBear<16>>,
{
    type SC = SC;
    type PB = WgpuBackend;
    type PD = WgpuDevice;
    type TS = TS;

    /// An engine on the process-wide default GPU, which is opened at the first call and anew after it was lost.
    ///
    /// # Panics
    ///
    /// When there is no usable adapter or the parameters are out of range, with the text that
    /// [`WgpuDeviceBuilder::build`](crate::WgpuDeviceBuilder::build) returns as an error.
    fn new(params: SystemParams) -> Self {
        Self::from_device(WgpuDevice::shared(params).unwrap_or_else(|error| panic!("{error}")))
    }

    fn config(&self) -> &SC {
        self.device.config()
    }

    /// Neither the stacked matrix nor the codewords stay in memory, and round 0 and the MLE rounds work in bounded tiles.
    fn proving_memory_config(&self) -> ProvingMemoryConfig {
        let cache_rs_code_matrix = self.device.options().cache_rs_code_matrix;
        ProvingMemoryConfig::from_protocol_config(self.config(), false, cache_rs_code_matrix, true)
    }

    fn device(&self) -> &WgpuDevice {
        &self.device
    }

    fn initial_transcript(&self) -> TS {
        TS::from(default_babybear_poseidon2_16())
    }

    fn prover_from_transcript(&self, transcript: TS) -> Coordinator<SC, WgpuBackend, WgpuDevice, TS> {
        Coordinator::new(WgpuBackend, self.device.clone(), transcript)
    }

    /// # Errors
    ///
    /// [`Error::InvalidInput`] before anything is committed when the context does not fit the key or the parameters;
    /// [`Error::UnbalancedInteractions`]; memory that does not suffice, here or in a transport of `pk` or `ctx`; what the device reports.
    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: ProvingContext<WgpuBackend>,
    ) -> Result<Proof<SC>> {
        input::check(self.params(), pk, &ctx)?;
        let proof = self.prover().prove(pk, ctx)?;
        self.device.gpu().store_pipelines();
        if self.device.options().verify_before_return {
            self.verify(&pk.get_vk(), &proof).map_err(|error| Error::ProofRejected(error.to_string()))?;
        }
        Ok(proof)
    }
}
