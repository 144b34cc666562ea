//! One proof on many devices: its plan, the graph of its tasks, who does a task, and a driver that hands them out within this process.
//!
//! `docs/fleet.md` describes the model. [`Graph`] and [`Chain`] decide what runs next and what counts, without any GPU, so that all drivers
//! decide alike; an [`Executor`] does one task on one device; a [`Verifier`] says what its result states.

#[cfg(feature = "fleet")]
pub mod blobs;
mod chain;
#[cfg(test)]
pub(crate) mod conformance;
mod executor;
mod graph;
mod in_process;
mod job;
mod plan;
#[cfg(feature = "fleet")]
pub mod temporal;

pub use chain::{Chain, State, Statement, Verdict};
pub use executor::{verify_node, Cancellation, Executor, TaskError, TaskResult, Verifier, MOST_BAD_RESULTS};
pub use graph::{Completion, Graph, Task, TaskKind};
pub use in_process::InProcess;
pub use job::{JobError, Proved};
pub use plan::{Plan, PlanError, PlannedSegment, SegmentPlace};
