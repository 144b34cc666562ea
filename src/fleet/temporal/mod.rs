//! The driver on Temporal: workers on any number of machines take the tasks of a job, and the server keeps track of them (feature `fleet`).
//!
//! This module alone names Temporal's SDK. What its server knows of a job are names: ids of tasks and SHA-256 of blobs, which lie in a store
//! of their own ([`Blobs`](super::blobs::Blobs)). A job is a workflow, with a child for every few hundred tasks (`groups`); each task is an
//! activity, which a worker does with an [`Executor`](super::Executor) and verifies. `docs/fleet.md` says what happens at each failure.

// what the macros of Temporal's SDK are given has to be public
#[allow(unreachable_pub)]
mod activities;
mod client;
#[allow(unreachable_pub)]
mod groups;
mod server;
mod station;
mod worker;
#[allow(unreachable_pub)]
mod workflow;

pub use client::{Client, JobError, JobState, JobStatus};
pub use groups::{class_of, CLASSES};
pub use server::Server;
pub use station::{Counted, Counters, Job, Opened, Workshop};
pub use worker::{Ended, Worker};
pub use workflow::{Outcome, Progress};

use super::blobs::BlobError;

/// What went wrong with the fleet's machinery, rather than with a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Options that do not fit.
    #[error("{0}")]
    Usage(String),
    /// The server cannot be reached, or refuses.
    #[error("the server at {url}: {reason}")]
    Server {
        /// Its URL.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The store of blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A job's manifest or plan is none.
    #[error("job {job}: {reason}")]
    Job {
        /// Its manifest.
        job: String,
        /// What is wrong.
        reason: String,
    },
}
