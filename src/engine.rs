//! The engine: upstream's `StarkEngine` on a wgpu device.

use std::{marker::PhantomData, time::Instant};

use openvm_stark_backend::{
    codec::Encode,
    keygen::types::MultiStarkVerifyingKey,
    memory_metering::ProvingMemoryConfig,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, Prover, ProvingContext},
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config;
use p3_baby_bear::{default_babybear_poseidon2_16, Poseidon2BabyBear};

use crate::{
    backend::WgpuBackend,
    context,
    device::WgpuDevice,
    error::{fault, panic_text, Error, Result},
    memory::ProofShape,
    stages::transcript::{HostTranscript, SpongeTranscript},
};

type SC = BabyBearPoseidon2Config;

/// Proves on a GPU; takes the place of upstream's `BabyBearPoseidon2CpuEngine` or its CUDA twin.
///
/// A plain type, so that `BabyBearPoseidon2WgpuEngine::new(params)` needs no annotation; [`WgpuEngine`] has the transcript as a parameter.
pub type BabyBearPoseidon2WgpuEngine = WgpuEngine<HostTranscript>;

/// The engine for a transcript of one's own choice.
///
/// `TS` is the Fiat-Shamir transcript, any one whose sponge state the device can continue.
pub struct WgpuEngine<TS = HostTranscript> {
    device: WgpuDevice,
    transcript: PhantomData<TS>,
}

impl<TS> WgpuEngine<TS> {
    /// An engine on an open device; see [`WgpuDeviceBuilder`](crate::WgpuDeviceBuilder).
    pub fn from_device(device: WgpuDevice) -> Self {
        Self { device, transcript: PhantomData }
    }
}

impl<TS> StarkEngine for WgpuEngine<TS>
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

    /// The stacked matrix never exists, codewords stay in memory where the device's options say so, and round 0 and the MLE rounds work
    /// in bounded tiles. `docs/memory.md` compares the estimate that upstream makes of this with what is held.
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

    /// Any number of threads may prove on one device: a proof waits until its memory fits the budget beside the others' (see
    /// [`WgpuDevice::admit`], which also tells where not to wait), unless the engine's device is under an admission already.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] before anything is committed when the context does not fit the key or the parameters;
    /// [`Error::UnbalancedInteractions`]; memory that does not suffice, here or in a transport of `pk` or `ctx`; what the device reports.
    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: ProvingContext<WgpuBackend>,
    ) -> Result<Proof<SC>> {
        let gpu = self.device.gpu();
        gpu.check_process()?;
        context::check(self.params(), pk, &ctx)?;
        let shape = ProofShape::of_context(self.params(), pk, &ctx);
        let admission = gpu.admit_proof(self.device.working_bytes(shape));
        let device = admission.as_ref().map_or_else(|| self.device.clone(), |admission| self.device.under(admission));
        let start = Instant::now();
        let proof =
            Coordinator::new(WgpuBackend, device.with_checked_context(), self.initial_transcript()).prove(pk, ctx)?;
        let proving = start.elapsed();
        drop(admission);
        gpu.store_pipelines();
        let bytes = || proof.encode_to_vec().map_or(0, |bytes| bytes.len());
        if self.device.options().verify_before_return.is_due(proving, bytes) {
            self.verify_deep(&pk.get_vk(), &proof)?;
        }
        Ok(proof)
    }
}

impl<TS> WgpuEngine<TS>
where
    TS: SpongeTranscript + From<Poseidon2BabyBear<16>>,
{
    /// Verifies on a thread of its own: upstream's verifier makes trees of the key's constraints and interactions, and recurses through them.
    fn verify_deep(&self, vk: &MultiStarkVerifyingKey<SC>, proof: &Proof<SC>) -> Result<()> {
        let nodes = vk.inner.per_air.iter().map(|vk| vk.symbolic_constraints.constraints.nodes.len());
        let stack = (nodes.max().unwrap_or(0) * STACK_PER_NODE).clamp(MIN_STACK, MAX_STACK);
        std::thread::scope(|scope| {
            let verifier = std::thread::Builder::new().name("verifier".into()).stack_size(stack);
            let verify = || self.verify(vk, proof).map_err(|error| Error::ProofRejected(fault(error)));
            let thread = verifier.spawn_scoped(scope, verify).map_err(|error| Error::ProofRejected(fault(error)))?;
            // the verifier panics at some proofs that it does not accept
            thread.join().unwrap_or_else(|panic| {
                let text = panic_text(&*panic).unwrap_or("without a reason");
                Err(Error::ProofRejected(fault(format!("the verifier panics: {text}"))))
            })
        })
    }
}

/// Bytes of stack for each node of an AIR's constraints, all of which could be nested; only what is used becomes memory.
const STACK_PER_NODE: usize = 1 << 10;
const MIN_STACK: usize = 8 << 20;
const MAX_STACK: usize = 4 << 30;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openvm_stark_backend::{
        interaction::InteractionBuilder as AirBuilder,
        prover::{AirProvingContext, ColMajorMatrix, DeviceDataTransporter, TraceCommitter},
        test_utils::default_test_params_small,
        BaseAirWithPublicValues, PartitionedBaseAir,
    };
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;
    use p3_air::{Air, BaseAir};
    use p3_field::PrimeCharacteristicRing;
    use p3_matrix::Matrix;

    use super::*;
    use crate::{
        gpu::{testing, DeviceMatrix},
        WgpuDeviceBuilder,
    };

    /// Verified on a stack that holds it, from a thread of rayon's 2 MiB; the key and the context are made on one that holds them, too.
    #[test]
    fn deep_expressions_are_verified() {
        let run = || {
            let params = default_test_params_small();
            let builder = WgpuDeviceBuilder::new().verify_before_return(true);
            let device = builder.build_on(testing::gpu(), params).unwrap();
            let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
            let (pk, _) = engine.keygen(&[Arc::new(Nested(100_000))]);
            let trace = ColMajorMatrix::new(vec![F::ZERO; 4], 1);
            let ctx = ProvingContext::new(vec![(0, AirProvingContext::simple_no_pis(trace))]);
            (engine, pk, ctx)
        };
        let large = std::thread::Builder::new().stack_size(1 << 30);
        let (engine, pk, ctx) = large.spawn(run).unwrap().join().unwrap();
        let prove = move || {
            let device = engine.device();
            let (pk, ctx) = (device.transport_pk_to_device(&pk), device.transport_proving_ctx_to_device(&ctx));
            engine.prove(&pk, ctx).map(|_| ())
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(prove).unwrap().join().unwrap().unwrap();
    }

    /// `((x + x) * 1 + x) * 1 ..`, in so many steps.
    struct Nested(usize);

    impl<T> BaseAir<T> for Nested {
        fn width(&self) -> usize {
            1
        }
    }

    impl<T> BaseAirWithPublicValues<T> for Nested {}

    impl<T> PartitionedBaseAir<T> for Nested {}

    impl<AB: AirBuilder> Air<AB> for Nested {
        fn eval(&self, builder: &mut AB) {
            let x: AB::Expr = builder.main().row_slice(0).expect("a row")[0].into();
            let sum = (0..self.0).fold(x.clone(), |sum, i| if i % 2 == 0 { sum + x.clone() } else { x.clone() - sum });
            builder.assert_zero(sum);
        }
    }

    #[test]
    fn commitments_keep_what_the_memory_config_says() {
        for cache in [false, true] {
            let params = default_test_params_small();
            let height = 1 << params.log_stacked_height();
            let builder = WgpuDeviceBuilder::new().cache_rs_code_matrix(cache);
            let device = builder.build_on(testing::gpu(), params).unwrap();
            let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
            let config = engine.proving_memory_config();
            let matrix = DeviceMatrix::upload(&testing::gpu(), &vec![F::TWO; 3 * height], height, 3, "test").unwrap();
            let (_, data) = engine.device().commit(&[&matrix]).unwrap();
            let leaves = height << config.log_blowup >> config.k_whir;
            let codewords = config.rs_code_matrix_memory_bytes(3 * height) * usize::from(config.cache_rs_code_matrix);
            let kept = 2 * leaves * config.digest_size + codewords + config.stacked_matrix_memory_bytes(3 * height);
            assert_eq!(data.get().unwrap().bytes(), kept as u64);
        }
    }
}
