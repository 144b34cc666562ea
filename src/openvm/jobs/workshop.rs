//! A GPU of a worker.

use std::sync::{Arc, Mutex, PoisonError};

use super::{JobBench, JobFiles, JobKeys};
use crate::{
    fleet::{
        blobs::BlobName,
        temporal::{Job, Opened, Workshop},
        Executor, TaskError,
    },
    openvm::segments::room,
    Gpu, WgpuDeviceBuilder,
};

/// A GPU that opens jobs of OpenVM's programs. Keys stay from job to job as long as the configuration is the same.
pub struct GpuWorkshop {
    gpu: Gpu,
    name: String,
    keys: Mutex<Option<(BlobName, Arc<JobKeys>)>>,
}

impl GpuWorkshop {
    /// A workshop on a GPU that is open; `name` tells it from others of the worker.
    pub fn new(gpu: Gpu, name: impl Into<String>) -> Self {
        Self { gpu, name: name.into(), keys: Mutex::default() }
    }

    /// The keys of a configuration.
    fn keys(&self, name: BlobName, config: &[u8]) -> Result<Arc<JobKeys>, TaskError> {
        // held meanwhile, so that nobody generates them twice
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = known.as_ref().filter(|(known, _)| *known == name) {
            return Ok(keys.clone());
        }
        let keys = Arc::new(JobKeys::from_bytes(config)?);
        *known = Some((name, keys.clone()));
        Ok(keys)
    }
}

impl Workshop for GpuWorkshop {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory(&self) -> u64 {
        room(&self.gpu)
    }

    fn memory_in_use(&self) -> u64 {
        self.gpu.metrics().bytes_in_use
    }

    fn open(&self, job: &Job, read: &dyn Fn(BlobName) -> Result<Vec<u8>, TaskError>) -> Result<Opened, TaskError> {
        let (elf, config, input, metering) = (read(job.elf)?, read(job.config)?, read(job.input)?, read(job.metering)?);
        let keys = self.keys(job.config, &config)?;
        let params = keys.config().app.system_params.clone();
        let device = WgpuDeviceBuilder::new().build_on(self.gpu.clone(), params);
        let device = device.map_err(|error| TaskError::Device(error.to_string()))?;
        let files = JobFiles { elf, config, input, metering, plan: job.plan.clone() };
        let bench = JobBench::open(&device, &keys, &files)?;
        let verifier = Arc::new(bench.verifier());
        Ok(Opened { executor: Arc::new(bench) as Arc<dyn Executor>, verifier })
    }
}
