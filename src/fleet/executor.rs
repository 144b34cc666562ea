//! Who does one task on one device, and who says whether the result counts.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc,
};

use super::{Statement, Task, TaskKind};

/// What a task makes where it goes from process to process: a proof as bytes, of a kind that executor and verifier agree on. Within a process
/// it may be any type of which clones are cheap.
pub type TaskResult = Arc<Vec<u8>>;

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The guest itself failed, or what is to be proved, as it would anywhere: ends the job, with this text.
    #[error("{0}")]
    Guest(String),
    /// The device failed: the task moves elsewhere. A device that is lost drops out ([`Executor::is_lost`]).
    #[error("{0}")]
    Device(String),
    /// The result does not verify: the task moves elsewhere, and a worker with two of these stops.
    #[error("{0}")]
    Rejected(String),
    /// What the task was given does not verify: the result of this child is thrown away and made again.
    #[error("input {input}: {reason}")]
    Input {
        /// The number of the child.
        input: usize,
        /// Why.
        reason: String,
    },
    /// [`Cancellation::cancel`] was called, or whoever asked for the job does not want it any more: ends the job.
    #[error("cancelled")]
    Cancelled,
}

/// Tells tasks under way to end; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Tells them.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether they were told.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bad results after which a worker stops: one may be a bit that flipped, two are a device that cannot be trusted.
pub const MOST_BAD_RESULTS: usize = 2;

/// One device that does tasks, whose results are of type `R`.
pub trait Executor<R = TaskResult>: Send + Sync {
    /// What reports call it.
    fn name(&self) -> String;

    /// Device memory that a task may take, bytes. No task that needs more begins here.
    fn memory(&self) -> u64;

    /// How many tasks it is given at once. One with several sees to it that what is on the device at once fits.
    fn slots(&self) -> usize {
        1
    }

    /// Whether slot number `slot` is for tasks of this kind, so that nodes need not wait for segments, nor segments for nodes.
    fn takes(&self, _slot: usize, _kind: TaskKind) -> bool {
        true
    }

    /// Whether the device is gone for good, so that no other task is given to it.
    fn is_lost(&self) -> bool {
        false
    }

    /// Does a task, on results of its children in order. Blocks until it is done, or soon after `cancelled` says so.
    ///
    /// # Errors
    ///
    /// See [`TaskError`].
    fn run(&self, task: &Task, inputs: &[R], cancelled: &Cancellation) -> Result<R, TaskError>;
}

/// Says whether a result is one, and what it states. Workers ask before they hand a result on, and whoever takes it asks again.
pub trait Verifier<R = TaskResult>: Send + Sync {
    /// Verifies a result: that it is a proof of this task's kind, under its key, of the job's program. Whether it fits its neighbours or its
    /// children is told from what it states ([`Chain`](super::Chain), [`verify_node`]).
    ///
    /// # Errors
    ///
    /// Why it does not count.
    fn verify(&self, task: &Task, result: &R) -> Result<Statement, String>;
}

/// Verifies the result of a leaf or another node over children of whom it is known what they state.
///
/// # Errors
///
/// Why it does not count.
pub fn verify_node<R>(
    verifier: &dyn Verifier<R>,
    task: &Task,
    children: &[Statement],
    result: &R,
) -> Result<Statement, String> {
    let expected =
        Statement::joined(children).map_err(|child| format!("child {child} does not follow the one before"))?;
    let statement = verifier.verify(task, result)?;
    match statement == expected {
        true => Ok(statement),
        false => Err("it verifies other proofs than its children's".into()),
    }
}
