//! The keys of a job, which whoever works for it generates from its configuration: they are hundreds of megabytes, and the same everywhere.

use std::sync::{Arc, Mutex, PoisonError};

use openvm_circuit::arch::instructions::exe::VmExe;
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, AppConfig},
    keygen::{AppProvingKey, AppVerifyingKey},
    prover::vm::types::VmProvingKey,
};
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use serde::{Deserialize, Serialize};

use super::{from_bytes, no_job, sdk_error, to_bytes, ProveError};
use crate::{
    error::caught,
    fleet::TaskError,
    openvm::{decode_elf, transpile, AggregationProver, AppProver, WgpuSdk},
    WgpuDevice,
};

/// The VM of a job, and the parameters of its proofs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobConfig {
    /// The VM, and the parameters of segments' proofs.
    pub app: AppConfig<SdkVmConfig>,
    /// The parameters of proofs above them.
    pub aggregation: AggregationSystemParams,
}

impl JobConfig {
    /// As a job's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }
}

/// The keys of a configuration.
pub struct JobKeys {
    config: JobConfig,
    app: AppProvingKey<SdkVmConfig>,
    app_vk: AppVerifyingKey,
    /// Keys of the aggregation on a device, from its first node on.
    aggregation: Mutex<Option<Arc<AggregationProver>>>,
}

impl JobKeys {
    /// Generates the app's keys. Those of the aggregation are generated when they are needed.
    ///
    /// # Errors
    ///
    /// [`ProveError::Sdk`] for a VM that is none.
    pub fn new(config: JobConfig) -> Result<Self, ProveError> {
        let app = caught(|| AppProvingKey::keygen(config.app.clone()))
            .map_err(|reason| sdk_error(format!("no keys for this VM: {reason}")))?
            .map_err(|error| sdk_error(format!("no keys for this VM: {error}")))?;
        let app_vk = app.get_app_vk();
        Ok(Self { config, app, app_vk, aggregation: Mutex::default() })
    }

    /// Those of a job's file.
    ///
    /// # Errors
    ///
    /// [`TaskError::Guest`] if it is none.
    pub fn from_bytes(config: &[u8]) -> Result<Self, TaskError> {
        let config = from_bytes(config, "configuration").map_err(no_job)?;
        Self::new(config).map_err(no_job)
    }

    /// The configuration.
    pub fn config(&self) -> &JobConfig {
        &self.config
    }

    /// The key that verifies segments' proofs.
    pub fn app_vk(&self) -> &AppVerifyingKey {
        &self.app_vk
    }

    /// A prover of a guest's ELF on `device`, which has the parameters of the app's proofs.
    ///
    /// # Errors
    ///
    /// As [`AppProver::on_device`].
    pub fn prover(&self, device: &WgpuDevice, elf: &[u8]) -> Result<AppProver, ProveError> {
        AppProver::on_device(device.clone(), SdkVmCpuBuilder, self.app_pk(), self.program(elf)?)
    }

    fn app_pk(&self) -> &VmProvingKey<SdkVmConfig> {
        &self.app.app_vm_pk
    }

    /// The VM's program of an ELF.
    fn program(&self, elf: &[u8]) -> Result<Arc<VmExe<F>>, ProveError> {
        let builder = WgpuSdk::builder().app_pk(self.app.clone()).agg_params(self.config.aggregation.clone());
        transpile(&builder.build()?, decode_elf(elf)?)
    }

    /// The provers of the aggregation on `device`, made when they are asked for first.
    ///
    /// # Errors
    ///
    /// [`TaskError::Device`] with what the device reports, or why the parameters do not fit each other.
    pub fn aggregation(&self, device: &WgpuDevice) -> Result<Arc<AggregationProver>, TaskError> {
        // held meanwhile, so that nobody generates the keys twice
        let mut known = self.aggregation.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(aggregation) = &*known {
            return Ok(aggregation.clone());
        }
        let (vk, tree) = (Arc::new(self.app_vk.vk.clone()), AggregationTreeConfig::default());
        let make = || AggregationProver::on_device(device, vk, &self.config.aggregation, tree);
        let made = Arc::new(caught(make).map_err(TaskError::Device)?);
        Ok(known.insert(made).clone())
    }
}
