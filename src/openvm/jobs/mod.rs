//! A program's proof as a job for workers elsewhere (feature `fleet`): its files as bytes, who does its tasks on a GPU, and who verifies what
//! they have made. Results are bytes, as [`TaskResult`](crate::fleet::TaskResult) has them, and made by what
//! [`AppProver`] and [`AggregationProver`](super::AggregationProver) prove with.

mod bench;
mod keys;
mod proofs;
mod workshop;

pub use bench::JobBench;
pub use keys::{JobConfig, JobKeys};
pub use proofs::{app_proof, stark_proof, JobVerifier};
pub use workshop::GpuWorkshop;

use std::sync::Arc;

use openvm_circuit::arch::execution_mode::metered::segment_ctx::Segment;
use openvm_sdk::{config::AggregationTreeConfig, StdIn};
use serde::{de::DeserializeOwned, Serialize};
use sha2::{Digest as _, Sha256};

use super::{kept::places, tasks, untrusted::sdk as sdk_error, AppProver, ProveError};
use crate::{
    fleet::{Plan, TaskError},
    WgpuDevice,
};

/// What a job is made of; each is a file for those who do its tasks.
#[derive(Clone, Debug)]
pub struct JobFiles {
    /// The guest's ELF.
    pub elf: Vec<u8>,
    /// The [`JobConfig`].
    pub config: Vec<u8>,
    /// What the guest reads.
    pub input: Vec<u8>,
    /// What was metered of each segment: the heights of its traces.
    pub metering: Vec<u8>,
    /// Segments, and the shape of the tree above them.
    pub plan: Plan,
}

impl JobFiles {
    /// Meters the execution of a guest on `input` and plans its proof: one for each segment, which become one if there is a `tree`. Segments take
    /// at most `segment_memory` bytes by upstream's estimate, or what the VM of `keys` says.
    ///
    /// # Errors
    ///
    /// As [`AppProver::on_device`] and [`AppProver::meter`].
    pub fn plan(
        device: &WgpuDevice,
        keys: &JobKeys,
        elf: Vec<u8>,
        input: &StdIn,
        segment_memory: Option<usize>,
        tree: Option<AggregationTreeConfig>,
    ) -> Result<Self, ProveError> {
        let prover = keys.prover(device, &elf)?;
        let prover = segment_memory.into_iter().fold(prover, AppProver::segment_memory);
        let (config, input_bytes) = (keys.config().to_bytes(), to_bytes(input));
        let hashes: Vec<u8> = [&elf, &config, &input_bytes].into_iter().flat_map(Sha256::digest).collect();
        let job = Sha256::digest(hashes).iter().map(|byte| format!("{byte:02x}")).collect();
        let (mut plan, segments) = prover.plan_job(job, input.clone())?;
        if let Some(tree) = tree {
            (plan.leaf_arity, plan.internal_arity) = (tree.num_children_leaf, tree.num_children_internal);
            (plan.aggregated, plan.node_bytes) = (true, tasks::NODE_BYTES);
        }
        Ok(Self { elf, config, input: input_bytes, metering: to_bytes(&segments), plan })
    }

    /// The input and the segments, checked against the plan.
    fn execution(&self) -> Result<(StdIn, Vec<Segment>), String> {
        let (input, segments): (StdIn, Vec<Segment>) =
            (from_bytes(&self.input, "input")?, from_bytes(&self.metering, "metering")?);
        let planned = self.plan.segments.iter().map(|segment| segment.place);
        let all: Vec<_> = segments.iter().cloned().map(Arc::new).collect();
        match places(&all).into_iter().eq(planned) {
            true => Ok((input, segments)),
            false => Err("its plan is one of other segments than were metered".into()),
        }
    }
}

/// What a guest reads, as a job's file.
pub fn input_file(input: &StdIn) -> Vec<u8> {
    to_bytes(input)
}

/// A job's files that are none, for all devices alike.
fn no_job(reason: impl std::fmt::Display) -> TaskError {
    TaskError::Guest(format!("not a job: {reason}"))
}

/// Upstream's types in upstream's binary form, as keys have it.
fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    bitcode::serialize(value).expect("plain data")
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, String> {
    bitcode::deserialize(bytes).map_err(|error| format!("its {what} is none: {error}"))
}

#[cfg(test)]
mod tests;
