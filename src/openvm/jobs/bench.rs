//! A job on a device: who does its tasks.

use std::sync::Arc;

use openvm_stark_sdk::config::baby_bear_poseidon2::Digest;

use super::{no_job, JobFiles, JobKeys, JobVerifier};
use crate::{
    error::caught,
    fleet::{Cancellation, Executor, Task, TaskError, TaskKind, TaskResult},
    openvm::{
        app::segments::desk::Desk,
        segments::room,
        tasks::{Failure, Made},
    },
    WgpuDevice,
};

/// Does tasks of one job on one device, one at a time; results are bytes.
pub struct JobBench {
    keys: Arc<JobKeys>,
    device: WgpuDevice,
    segments: Desk,
}

impl JobBench {
    /// Commits to the job's program on `device`, which has the parameters of the app's proofs.
    ///
    /// # Errors
    ///
    /// [`TaskError::Guest`] for what is no job, [`TaskError::Device`] for what may work elsewhere.
    pub fn open(device: &WgpuDevice, keys: &Arc<JobKeys>, files: &JobFiles) -> Result<Self, TaskError> {
        let (input, segments) = files.execution().map_err(no_job)?;
        let (on, of, elf) = (device.clone(), keys.clone(), files.elf.clone());
        let prover = move || of.prover(&on, &elf);
        let segments = Desk::open(prover, input, segments).map_err(|error| match device.gpu().is_lost() {
            true => TaskError::Device(error.to_string()),
            false => error,
        })?;
        Ok(Self { keys: keys.clone(), device: device.clone(), segments })
    }

    /// Who verifies the job's results.
    pub fn verifier(&self) -> JobVerifier {
        JobVerifier { keys: self.keys.clone(), device: self.device.clone(), program: self.segments.program }
    }

    /// What verifiers know the program by.
    pub fn exe_commit(&self) -> Digest {
        self.segments.exe_commit
    }
}

impl Executor for JobBench {
    fn name(&self) -> String {
        self.device.adapter_info().to_string()
    }

    fn memory(&self) -> u64 {
        room(self.device.gpu())
    }

    fn is_lost(&self) -> bool {
        self.device.gpu().is_lost()
    }

    fn run(&self, task: &Task, inputs: &[TaskResult], cancelled: &Cancellation) -> Result<TaskResult, TaskError> {
        if task.kind == TaskKind::Segment {
            return Ok(Arc::new(self.segments.run(task, cancelled)?.to_bytes()));
        }
        let read = |(input, bytes): (usize, &TaskResult)| {
            let made = Made::from_bytes(bytes);
            made.map(Arc::new).map_err(|reason| TaskError::Input { input, reason })
        };
        let inputs = inputs.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let aggregation = self.keys.aggregation(&self.device)?;
        // upstream's code panics where it cannot return what a device reports
        let made = caught(|| aggregation.node(task, &inputs, cancelled)).map_err(TaskError::Device)?;
        Ok(Arc::new(made.map_err(|failure: Failure| failure.consequence())?.to_bytes()))
    }
}
