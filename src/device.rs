//! The device that upstream's prover drives: commits, proves constraints, proves openings.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use openvm_stark_backend::{
    proof::{BatchConstraintProof, GkrProof, StackingProof, WhirProof},
    prover::{DeviceMultiStarkProvingKey, MultiRapProver, OpeningProver, ProverDevice, ProvingContext, TraceCommitter},
    StarkProtocolConfig, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, EF, F};
use p3_field::PrimeCharacteristicRing;

use crate::{
    backend::{CommittedData, WgpuBackend},
    context,
    error::{Error, Result},
    gpu::{AdapterSummary, Admission, DeviceMatrix, DeviceMetrics, Gpu, GpuOptions, LimitProfile},
    kernels::{ntt::MAX_LOG_SIZE, MAX_L_SKIP},
    stages::{
        openings,
        pcs::{self, CommitParams, PcsData},
        rap,
        transcript::{SpongeTranscript, Transcript},
        whir,
    },
};

type SC = BabyBearPoseidon2Config;

/// Which constraint evaluator runs; see [`WgpuDeviceBuilder::evaluator`].
pub use crate::kernels::constraints::EvaluatorPolicy;

/// An open GPU with system parameters: upstream's `ProverDevice`. Clones share the GPU.
#[derive(Clone)]
pub struct WgpuDevice {
    gpu: Gpu,
    config: SC,
    options: ProverOptions,
    /// Whether the context to be proved was checked already, by the engine before the commitment.
    context_is_checked: bool,
}

/// How the prover works on a device.
#[derive(Clone, Copy, Debug)]
pub struct ProverOptions {
    /// Which constraint evaluator runs.
    pub evaluator: EvaluatorPolicy,
    /// Run the host's verifier on every proof before it is returned. By default on Metal, where a failed command buffer can look like
    /// success (wgpu #9545).
    pub verify_before_return: bool,
    /// Keep codeword matrices between commitment and opening instead of encoding twice: twice the trace's memory for a few per cent of
    /// time.
    pub cache_rs_code_matrix: bool,
}

/// Chooses an adapter and opens it.
///
/// ```no_run
/// use openvm_stark_sdk::config::app_params_with_100_bits_security;
/// use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine, WgpuDeviceBuilder};
///
/// let device = WgpuDeviceBuilder::new().adapter("M2").memory_budget(8 << 30).build(app_params_with_100_bits_security(21))?;
/// let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
/// # Ok::<(), openvm_wgpu_backend::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WgpuDeviceBuilder {
    gpu: GpuOptions,
    evaluator: EvaluatorPolicy,
    verify_before_return: Option<bool>,
    cache_rs_code_matrix: Option<bool>,
}

impl WgpuDeviceBuilder {
    /// The best adapter under the limits that the environment names ([`LimitProfile::VARIABLE`]).
    pub fn new() -> Self {
        Self::default()
    }

    /// Only adapters whose name contains `name` (case-insensitive); else the variable `WGPU_ADAPTER_NAME` decides.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.gpu.adapter = Some(name.into());
        self
    }

    /// Use at most `bytes` of device memory.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.gpu.memory_budget = Some(bytes);
        self
    }

    /// Measure the device time of every kernel; slow, for profiling. See [`Gpu::kernel_times`].
    pub fn kernel_times(mut self, measure: bool) -> Self {
        self.gpu.kernel_times = measure;
        self
    }

    /// Stay within the limits of a lesser device.
    pub fn profile(mut self, profile: LimitProfile) -> Self {
        self.gpu.profile = Some(profile);
        self
    }

    /// Which constraint evaluator runs; by default the interpreter at once and generated kernels where they pay.
    pub fn evaluator(mut self, policy: EvaluatorPolicy) -> Self {
        self.evaluator = policy;
        self
    }

    /// Whether the host verifies each proof before it is returned.
    pub fn verify_before_return(mut self, verify: bool) -> Self {
        self.verify_before_return = Some(verify);
        self
    }

    /// Whether codeword matrices are kept between commitment and opening; by default on software drivers, where encoding is slow and the
    /// memory is the host's.
    pub fn cache_rs_code_matrix(mut self, cache: bool) -> Self {
        self.cache_rs_code_matrix = Some(cache);
        self
    }

    /// Opens the adapter.
    ///
    /// # Errors
    ///
    /// [`Error::NoAdapter`], [`Error::UnsupportedAdapter`], [`Error::Unsupported`] for parameters out of range.
    pub fn build(self, params: SystemParams) -> Result<WgpuDevice> {
        let gpu = Gpu::new(&self.gpu)?;
        self.build_on(gpu, params)
    }

    /// Opens the adapter and makes it the default of the process, with these options: what engines prove on that are made from parameters alone
    /// (`StarkEngine::new`), as OpenVM's SDK makes them. Engines that exist keep theirs.
    ///
    /// # Errors
    ///
    /// [`Error::NoAdapter`], [`Error::UnsupportedAdapter`].
    pub fn set_default(self) -> Result<Gpu> {
        let gpu = Gpu::new(&self.gpu)?;
        *DefaultDevice::lock() = DefaultDevice { builder: self, gpu: Some(gpu.clone()) };
        Ok(gpu)
    }

    /// Uses a GPU that is open already, sharing its memory pool and pipelines.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for parameters out of range.
    pub fn build_on(self, gpu: Gpu, params: SystemParams) -> Result<WgpuDevice> {
        check_params(&params)?;
        let metal = gpu.adapter().backend == "metal";
        Ok(WgpuDevice {
            options: ProverOptions {
                evaluator: self.evaluator,
                verify_before_return: self.verify_before_return.unwrap_or(metal),
                cache_rs_code_matrix: self.cache_rs_code_matrix.unwrap_or(gpu.capabilities().software),
            },
            gpu,
            config: BabyBearPoseidon2Config::default_from_params(params),
            context_is_checked: false,
        })
    }
}

/// What the kernels are built for.
fn check_params(params: &SystemParams) -> Result<()> {
    let log_codeword = params.log_stacked_height() + params.log_blowup;
    let problem = if params.l_skip > MAX_L_SKIP {
        Some(format!("l_skip {} (at most {MAX_L_SKIP})", params.l_skip))
    } else if log_codeword > MAX_LOG_SIZE {
        Some(format!("codewords of 2^{log_codeword} rows (BabyBear's two-adicity allows 2^{MAX_LOG_SIZE})"))
    } else {
        None
    };
    problem.map_or(Ok(()), |what| Err(Error::Unsupported(what)))
}

/// The process-wide default: how it is opened, and what was.
#[derive(Default)]
struct DefaultDevice {
    builder: WgpuDeviceBuilder,
    gpu: Option<Gpu>,
}

impl DefaultDevice {
    fn lock() -> MutexGuard<'static, Self> {
        static DEFAULT: LazyLock<Mutex<DefaultDevice>> = LazyLock::new(Mutex::default);
        DEFAULT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl WgpuDevice {
    /// The process-wide default GPU, opened at the first call and again when it was lost.
    pub(crate) fn shared(params: SystemParams) -> Result<Self> {
        let mut default = DefaultDevice::lock();
        let gpu = match default.gpu.take_if(|gpu| !gpu.is_lost()) {
            Some(gpu) => gpu,
            None => Gpu::new(&default.builder.gpu)?,
        };
        default.gpu = Some(gpu.clone());
        default.builder.clone().build_on(gpu, params)
    }

    /// The GPU underneath, to build another device on it.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// This device, with what is allocated through it charged to `admission`; proofs on it take no admission of their own. See
    /// [`WgpuDevice::admit`].
    pub fn under(&self, admission: &Admission) -> Self {
        Self { gpu: self.gpu.under(admission), ..self.clone() }
    }

    /// This device, for one proof whose context passed [`context::check`].
    pub(crate) fn with_checked_context(self) -> Self {
        Self { context_is_checked: true, ..self }
    }

    /// The protocol configuration.
    pub fn config(&self) -> &SC {
        &self.config
    }

    /// The system parameters.
    pub fn params(&self) -> &SystemParams {
        self.config.params()
    }

    /// How the prover works.
    pub fn options(&self) -> &ProverOptions {
        &self.options
    }

    /// Name, driver and kind of the adapter.
    pub fn adapter_info(&self) -> &AdapterSummary {
        self.gpu.adapter()
    }

    /// Waits until everything that was submitted, uploads included, has run.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn synchronize(&self) -> Result<()> {
        self.gpu.synchronize()
    }

    /// Waits until the kernels are compiled whose compilation in the background has begun, for measurements: proofs do not need it. With
    /// [`EvaluatorPolicy::Auto`] a GPU's begins when a proving key is transported.
    pub fn wait_for_kernels(&self) {
        self.gpu.wait_for_kernels();
    }

    /// Keeps the device busy for a while, for measurements: an H200 runs several times slower for 300 ms after an idle spell.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn warm_up(&self, duration: Duration) -> Result<()> {
        let params = CommitParams { l_skip: 0, n_stack: 14, log_blowup: 1, k_whir: 0, cache_rs_code_matrix: false };
        let zeros = DeviceMatrix::upload(&self.gpu, &F::zero_vec(64 << 14), 1 << 14, 64, "warm-up")?;
        let start = Instant::now();
        while start.elapsed() < duration {
            let _root = pcs::commit(&self.gpu, params, &[&zeros])?.0;
        }
        Ok(())
    }

    /// Host waits and memory since the last [`WgpuDevice::reset_metrics`].
    pub fn metrics(&self) -> DeviceMetrics {
        self.gpu.metrics()
    }

    /// Starts counting anew.
    pub fn reset_metrics(&self) {
        self.gpu.reset_metrics();
    }
}

impl<TS: SpongeTranscript> ProverDevice<WgpuBackend, TS> for WgpuDevice {
    type Error = Error;
    type DeviceCtx = Gpu;

    fn device_ctx(&self) -> &Gpu {
        &self.gpu
    }
}

impl TraceCommitter<WgpuBackend> for WgpuDevice {
    type Error = Error;

    fn commit(&self, traces: &[&DeviceMatrix<F>]) -> Result<(Digest, CommittedData)> {
        let cache_rs_code_matrix = self.options.cache_rs_code_matrix;
        let params = CommitParams { cache_rs_code_matrix, ..self.params().into() };
        let (root, data) = pcs::commit(&self.gpu, params, traces)?;
        Ok((root, CommittedData::new(Ok(data))))
    }
}

impl<TS: SpongeTranscript> MultiRapProver<WgpuBackend, TS> for WgpuDevice {
    type PartialProof = (GkrProof<SC>, BatchConstraintProof<SC>);
    type Artifacts = Vec<EF>;
    type Error = Error;

    fn prove_rap_constraints(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: &ProvingContext<WgpuBackend>,
        common_main_pcs_data: &CommittedData,
    ) -> Result<(Self::PartialProof, Vec<EF>)> {
        // by who calls the stages himself
        if !self.context_is_checked {
            context::check(self.params(), mpk, ctx)?;
        }
        let input = context::rap_input(mpk, ctx)?;
        let mut tx = Transcript::new(&self.gpu, transcript)?;
        let (gkr, batch, r) = rap::prove_rap(&mut tx, &input, || {
            common_main_pcs_data.get()?.encode_ahead(&self.gpu, whir::bytes_until_opened(self.params()))
        })?;
        tx.finish()?;
        Ok(((gkr, batch), r))
    }
}

impl<TS: SpongeTranscript> OpeningProver<WgpuBackend, TS> for WgpuDevice {
    type OpeningProof = (StackingProof<SC>, WhirProof<SC>);
    type OpeningPoints = Vec<EF>;
    type Error = Error;

    fn prove_openings(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: ProvingContext<WgpuBackend>,
        common_main_pcs_data: CommittedData,
        r: Vec<EF>,
    ) -> Result<Self::OpeningProof> {
        let (pre_cached, need_rot) = committed_parts(mpk, &ctx);
        let commits = std::iter::once(&common_main_pcs_data).chain(pre_cached.iter().map(Arc::as_ref));
        let commits: Vec<&PcsData> = commits.map(CommittedData::get).collect::<Result<_>>()?;
        let mut tx = Transcript::new(&self.gpu, transcript)?;
        let proofs = openings::prove_openings(&mut tx, self.params(), &commits, &need_rot, &r)?;
        tx.finish()?;
        Ok(proofs)
    }
}

/// The commitments beside the common main one, in upstream's order (per trace: preprocessed, then cached mains), and for each
/// commitment (the common main first) which of its matrices open rotations.
fn committed_parts(
    mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &ProvingContext<WgpuBackend>,
) -> (Vec<Arc<CommittedData>>, Vec<Vec<bool>>) {
    let needs_rot = |air: &usize| mpk.per_air[*air].vk.params.need_rot;
    let mut need_rot = vec![ctx.per_trace.iter().map(|(air, _)| needs_rot(air)).collect()];
    let mut data = vec![];
    for (air, trace) in &ctx.per_trace {
        for part in mpk.per_air[*air].preprocessed_data.iter().chain(&trace.cached_mains) {
            data.push(part.data.clone());
            need_rot.push(vec![needs_rot(air)]);
        }
    }
    (data, need_rot)
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::test_utils::default_test_params_small;

    use super::*;

    /// The root of a small commitment.
    fn commit(device: &WgpuDevice) -> Result<Digest> {
        let matrix = DeviceMatrix::upload(device.gpu(), &[F::TWO; 8], 8, 1, "test")?;
        Ok(device.commit(&[&matrix])?.0)
    }

    #[test]
    fn a_lost_default_device_is_replaced_and_one_can_be_set() {
        let shared = || WgpuDevice::shared(default_test_params_small()).unwrap();
        let (device, other) = (shared(), shared());
        let root = commit(&device).unwrap();
        other.gpu().lose();
        assert!(device.gpu().is_lost(), "engines share a device");
        assert!(matches!(commit(&device), Err(Error::DeviceLost(_))));
        let fresh = shared();
        assert!(!fresh.gpu().is_lost() && device.gpu().is_lost());
        assert_eq!(commit(&fresh).unwrap(), root);
        fresh.gpu().lose();
        assert_eq!(commit(&shared()).unwrap(), root);

        // in the same test, since tests run at the same time
        let gpu = WgpuDeviceBuilder::new().memory_budget(64 << 20).verify_before_return(true).set_default().unwrap();
        let device = WgpuDevice::shared(default_test_params_small()).unwrap();
        assert_eq!((gpu.memory_budget(), device.gpu().memory_budget()), (64 << 20, 64 << 20));
        assert!(device.options().verify_before_return);
    }
}
