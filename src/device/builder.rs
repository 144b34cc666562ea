//! How a device is opened.

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config;

use super::{
    options::{EvaluatorPolicy, ProverOptions, VerifyPolicy},
    WgpuDevice,
};
use crate::{
    error::{Error, Result},
    gpu::{Gpu, GpuOptions, LimitProfile},
    kernels::{ntt::MAX_LOG_SIZE, MAX_L_SKIP},
};

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
    verify_before_return: Option<VerifyPolicy>,
    cache_rs_code_matrix: Option<bool>,
}

impl WgpuDeviceBuilder {
    /// The best adapter under the limits that the environment names ([`LimitProfile::VARIABLE`]).
    pub fn new() -> Self {
        Self::default()
    }

    /// Only an adapter that is called so: by part of its name, `#` and its number as [`adapters`](crate::adapters) counts, its PCI address or
    /// its UUID, see [`AdapterSummary::is_named`](crate::report::AdapterSummary::is_named); else the variable `WGPU_ADAPTER_NAME` decides,
    /// in the same way.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.gpu.adapter = Some(name.into());
        self
    }

    /// Only the adapter of this number, as [`adapters`](crate::adapters) counts: for hosts with several equal cards.
    pub fn adapter_index(self, index: usize) -> Self {
        self.adapter(format!("#{index}"))
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

    /// Whether the device's clocks are kept up while a proof is announced: from [`WgpuDevice::admit`] or [`WgpuDevice::keep_warm`] to the end
    /// of what they return, but no longer than five seconds without work of somebody else. By default on discrete cards unless a battery
    /// is discharged, and as the variable `OPENVM_WGPU_KEEP_WARM` says (`0`: never).
    pub fn keep_warm(mut self, keep: bool) -> Self {
        self.gpu.keep_warm = Some(keep);
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

    /// Whether the host verifies each proof before it is returned: by default on Metal and on software drivers, and elsewhere where that is
    /// cheap, see [`ProverOptions::verify_before_return`].
    pub fn verify_before_return(mut self, verify: bool) -> Self {
        self.verify_before_return = Some(if verify { VerifyPolicy::Always } else { VerifyPolicy::Never });
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
        let gpu = self.open()?;
        self.build_on(gpu, params)
    }

    /// Opens the adapter, without a protocol.
    pub(super) fn open(&self) -> Result<Gpu> {
        Gpu::new(&self.gpu)
    }

    /// Uses a GPU that is open already, sharing its memory pool and pipelines.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for parameters out of range.
    pub fn build_on(self, gpu: Gpu, params: SystemParams) -> Result<WgpuDevice> {
        check_params(&params)?;
        // all where success may be none, and where the verifier's time is nothing beside the proof's
        let verify = match gpu.adapter().backend == "metal" || gpu.capabilities().software {
            true => VerifyPolicy::Always,
            false => VerifyPolicy::WhereCheap,
        };
        Ok(WgpuDevice {
            options: ProverOptions {
                evaluator: self.evaluator,
                verify_before_return: self.verify_before_return.unwrap_or(verify),
                cache_rs_code_matrix: self.cache_rs_code_matrix.unwrap_or(gpu.capabilities().software),
            },
            gpu,
            config: BabyBearPoseidon2Config::default_from_params(params),
            context_is_checked: false,
        })
    }
}

impl WgpuDevice {
    /// The same device for other parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for parameters out of range.
    pub fn with_params(&self, params: SystemParams) -> Result<Self> {
        check_params(&params)?;
        let config = BabyBearPoseidon2Config::default_from_params(params);
        Ok(Self { config, context_is_checked: false, ..self.clone() })
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
