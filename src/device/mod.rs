//! The device that upstream's prover drives: an open GPU with system parameters.

mod builder;
mod default;
mod options;
mod traits;

use std::time::{Duration, Instant};

use openvm_stark_backend::{StarkProtocolConfig, SystemParams};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use p3_field::PrimeCharacteristicRing;

pub use self::{
    builder::WgpuDeviceBuilder,
    options::{EvaluatorPolicy, ProverOptions, VerifyPolicy},
};
use crate::{
    error::Result,
    gpu::{AdapterSummary, Admission, DeviceMatrix, DeviceMetrics, Gpu, KeepWarm, KernelProgress},
    stages::pcs::{self, CommitParams},
};

type SC = BabyBearPoseidon2Config;

/// An open GPU with system parameters: upstream's `ProverDevice`. Clones share the GPU.
#[derive(Clone)]
pub struct WgpuDevice {
    gpu: Gpu,
    config: SC,
    options: ProverOptions,
    /// Whether the context to be proved was checked already, by the engine before the commitment.
    context_is_checked: bool,
}

impl WgpuDevice {
    /// The GPU underneath, to build another device on it.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// This device, with what is allocated through it charged to `admission`; proofs on it take no admission of their own. See
    /// [`WgpuDevice::admit`].
    pub fn under(&self, admission: &Admission) -> Self {
        Self { gpu: self.gpu.under(admission), ..self.clone() }
    }

    /// This device, for one proof whose context passed [`context::check`](crate::context::check).
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
    /// [`EvaluatorPolicy::Auto`] it begins with the first proof whose traces are large enough.
    pub fn wait_for_kernels(&self) {
        self.gpu.wait_for_kernels();
    }

    /// Where that compilation stands: kernels that are pending, done and left out.
    pub fn kernel_progress(&self) -> KernelProgress {
        self.gpu.kernel_progress()
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

    /// Announces a proof: keeps the device's clocks up until the result is dropped, where [`WgpuDeviceBuilder::keep_warm`] lets it. An H200
    /// that has idled for half a second proves two and a half times as slowly. [`WgpuDevice::admit`] does the same.
    pub fn keep_warm(&self) -> KeepWarm {
        self.gpu.keep_warm()
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
