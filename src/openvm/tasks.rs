//! A program's proof as tasks: what a device does of them, what their results state, and what becomes of failures.

use std::{
    any::Any,
    borrow::Borrow,
    collections::BTreeSet,
    panic::{catch_unwind, resume_unwind, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use openvm_circuit::{
    arch::{CONNECTOR_AIR_ID, MERKLE_AIR_ID, PROGRAM_AIR_ID, PROGRAM_CACHED_TRACE_INDEX},
    system::{
        connector::VmConnectorPvs,
        memory::{
            merkle::{public_values::UserPublicValuesProof, MemoryMerklePvs},
            CHUNK,
        },
    },
};
use openvm_sdk::config::AggregationTreeConfig;
use openvm_stark_backend::{p3_field::PrimeField32, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};
use openvm_verify_stark_host::pvs::{VmPvs, VM_PVS_AIR_ID};

use super::{segments::room, ProveError};
use crate::{
    error::{panic_text, Error},
    fleet::{
        Cancellation, Executor, InProcess, JobError, Plan, PlannedSegment, Proved, State, Statement, Task, TaskError,
        TaskKind, Verifier,
    },
    gpu::Gpu,
};

type SC = BabyBearPoseidon2Config;
pub(super) type PublicValues = UserPublicValuesProof<CHUNK, F>;

/// What an aggregation is made of, and who makes it.
pub(super) struct Tree<'a> {
    pub shape: AggregationTreeConfig,
    pub nodes: Vec<&'a dyn Work>,
}

/// Device memory that a proof of an aggregation takes, bytes.
pub(super) const NODE_BYTES: u64 = 2 << 30;

/// The plan of a proof over `segments`, which become one if there is a `tree`.
pub(super) fn plan(start: State, segments: Vec<PlannedSegment>, tree: Option<&Tree<'_>>) -> Plan {
    let (leaf_arity, internal_arity) = tree.map_or((Plan::LEAF_ARITY, Plan::INTERNAL_ARITY), |tree| {
        (tree.shape.num_children_leaf, tree.shape.num_children_internal)
    });
    // where no device is as large, the largest one is tried
    let largest = tree.into_iter().flat_map(|tree| &tree.nodes).map(|node| room(node.gpu())).max();
    let node_bytes = NODE_BYTES.min(largest.unwrap_or(NODE_BYTES));
    let job = "proof".into();
    Plan { job, start, segments, aggregated: tree.is_some(), leaf_arity, internal_arity, node_bytes }
}

/// What a task has made; that of the last segment has the public values at the end of the execution as well.
#[derive(Clone)]
pub(super) struct Made {
    pub proof: Proof<SC>,
    pub public_values: Option<PublicValues>,
}

/// Clones are cheap.
pub(super) type Result = Arc<Made>;

/// Why a task has made nothing.
pub(super) enum Failure {
    Error(eyre::Report),
    Panic(Box<dyn Any + Send>),
    /// The job has ended, or shall not go on.
    Cancelled,
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        Self::Error(error.into())
    }
}

impl Failure {
    /// What follows from it.
    pub(super) fn consequence(&self) -> TaskError {
        match self {
            Self::Cancelled => TaskError::Cancelled,
            // upstream's code panics where it cannot return what a device reports
            Self::Panic(panic) => TaskError::Device(panic_text(&**panic).unwrap_or("a panic without text").into()),
            Self::Error(report) => {
                let text = format!("{report:#}");
                match report.downcast_ref::<ProveError>() {
                    Some(ProveError::Segment { error, .. } | ProveError::Device(error)) => of_error(error, text),
                    Some(_) => TaskError::Guest(text),
                    None => match report.downcast_ref::<Error>() {
                        Some(error) => of_error(error, text),
                        None => TaskError::Device(text),
                    },
                }
            }
        }
    }

    /// As an error; panics go on.
    pub(super) fn into_report(self) -> eyre::Report {
        match self {
            Self::Error(report) => report,
            Self::Panic(panic) => resume_unwind(panic),
            Self::Cancelled => eyre::eyre!("cancelled"),
        }
    }
}

fn of_error(error: &Error, text: String) -> TaskError {
    match error {
        Error::Deferred(error) => of_error(error, text),
        Error::ProofRejected(_) => TaskError::Rejected(text),
        // would be the same anywhere
        Error::InvalidInput(_) | Error::UnbalancedInteractions | Error::Unsupported(_) => TaskError::Guest(text),
        _ => TaskError::Device(text),
    }
}

/// What a device does of a proof: segments, or nodes of an aggregation.
pub(super) trait Work: Sync {
    /// The device.
    fn gpu(&self) -> &Gpu;

    /// How many tasks it is given at once.
    fn slots(&self) -> usize;

    fn run(&self, task: &Task, inputs: &[Result], cancelled: &Cancellation) -> std::result::Result<Result, Failure>;
}

/// One device with what it does.
struct Station<'a> {
    gpu: &'a Gpu,
    /// Of segments, of nodes.
    work: [Option<&'a dyn Work>; 2],
    failures: &'a Failures,
}

/// What has gone wrong: the last failure, unless one has ended the job.
#[derive(Default)]
struct Failures(Mutex<Option<(Failure, bool)>>);

impl Failures {
    fn lock(&self) -> MutexGuard<'_, Option<(Failure, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, failure: Failure) -> TaskError {
        let error = failure.consequence();
        let ends = matches!(error, TaskError::Guest(_));
        let mut last = self.lock();
        if error != TaskError::Cancelled && !matches!(*last, Some((_, true))) {
            *last = Some((failure, ends));
        }
        error
    }
}

impl Station<'_> {
    fn work_of(&self, kind: TaskKind) -> Option<&dyn Work> {
        self.work[usize::from(kind != TaskKind::Segment)]
    }

    fn slots_of(&self, kind: TaskKind) -> usize {
        self.work_of(kind).map_or(0, Work::slots)
    }
}

impl Executor<Result> for Station<'_> {
    fn name(&self) -> String {
        self.gpu.adapter().to_string()
    }

    fn memory(&self) -> u64 {
        room(self.gpu)
    }

    fn slots(&self) -> usize {
        self.slots_of(TaskKind::Segment) + self.slots_of(TaskKind::Leaf)
    }

    /// The first slots are for segments, the others for nodes.
    fn takes(&self, slot: usize, kind: TaskKind) -> bool {
        (slot < self.slots_of(TaskKind::Segment)) == (kind == TaskKind::Segment)
    }

    fn is_lost(&self) -> bool {
        self.gpu.is_lost()
    }

    fn run(&self, task: &Task, inputs: &[Result], cancelled: &Cancellation) -> std::result::Result<Result, TaskError> {
        let work = self.work_of(task.kind).expect("a slot takes what there is work for");
        let made = catch_unwind(AssertUnwindSafe(|| work.run(task, inputs, cancelled)));
        made.unwrap_or_else(|panic| Err(Failure::Panic(panic))).map_err(|failure| self.failures.record(failure))
    }
}

/// Why there is no proof.
pub(super) enum Ended {
    Failure(Failure),
    /// Somebody wanted it so.
    Stopped,
    /// Nothing has failed, but nobody could go on.
    Other(String),
}

/// Runs a plan on the devices that do `work`: that of segments, that of nodes. `program` is the commitment to the program.
pub(super) fn run(
    plan: &Plan,
    program: Digest,
    segments: &[&dyn Work],
    nodes: &[&dyn Work],
) -> std::result::Result<Proved<Result>, Ended> {
    let failures = Failures::default();
    let station = |gpu, work| Station { gpu, work, failures: &failures };
    let mut stations: Vec<_> = segments.iter().map(|work| station(work.gpu(), [Some(*work), None])).collect();
    for node in nodes {
        match stations.iter_mut().find(|station| station.gpu.is_same(node.gpu())) {
            Some(station) => station.work[1] = Some(*node),
            None => stations.push(station(node.gpu(), [None, Some(*node)])),
        }
    }
    // with one device, nobody else could do better
    let most_failures = if stations.len() == 1 { 1 } else { InProcess::default().most_failures };
    let driver = InProcess { most_failures, ..InProcess::default() };
    let executors: Vec<&dyn Executor<Result>> = stations.iter().map(|station| station as _).collect();
    let mut outcomes = driver.run_scoped(std::slice::from_ref(plan), &executors, &Statements { program });
    drop(executors);
    let outcome = outcomes.pop().expect("one for each job");
    outcome.map_err(|error| match (error, failures.lock().take()) {
        (JobError::Cancelled, _) => Ended::Stopped,
        (_, Some((failure, _))) => Ended::Failure(failure),
        (error, None) => Ended::Other(error.to_string()),
    })
}

/// Reads what proofs state; the engine has verified them before, where the device's options say so
/// ([`ProverOptions::verify_before_return`](crate::ProverOptions::verify_before_return)).
struct Statements {
    program: Digest,
}

impl Verifier<Result> for Statements {
    fn verify(&self, task: &Task, made: &Result) -> std::result::Result<Statement, String> {
        let stated = match task.kind {
            TaskKind::Segment => of_segment(&made.proof),
            _ => of_node(&made.proof),
        };
        let (program, mut statement) = stated.ok_or("it has not the public values of a proof of its kind")?;
        if program != self.program {
            return Err("it is a proof of another program".into());
        }
        if task.index == 0 {
            // no driver of one process knows it without hashing the memory with which the program begins
            statement.before.root = Default::default();
        }
        Ok(statement)
    }
}

/// The program that a segment's proof is of, and what it states; nothing if it is none.
pub(super) fn of_segment(proof: &Proof<SC>) -> Option<(Digest, Statement)> {
    let program = proof.trace_vdata.get(PROGRAM_AIR_ID)?.as_ref()?;
    let program = *program.cached_commitments.get(PROGRAM_CACHED_TRACE_INDEX)?;
    let connector: &VmConnectorPvs<F> = values(proof, CONNECTOR_AIR_ID, VmConnectorPvs::<u8>::width())?.borrow();
    let memory: &MemoryMerklePvs<F, CHUNK> = values(proof, MERKLE_AIR_ID, 2 * CHUNK)?.borrow();
    let statement = Statement {
        before: state(connector.initial_pc, &memory.initial_root),
        after: state(connector.final_pc, &memory.final_root),
        terminates: ends(connector.is_terminate, connector.exit_code),
    };
    Some((program, statement))
}

/// The same of a node.
pub(super) fn of_node(proof: &Proof<SC>) -> Option<(Digest, Statement)> {
    let values: &VmPvs<F> = values(proof, VM_PVS_AIR_ID, VmPvs::<u8>::width())?.borrow();
    let statement = Statement {
        before: state(values.initial_pc, &values.initial_root),
        after: state(values.final_pc, &values.final_root),
        terminates: ends(values.is_terminate, values.exit_code),
    };
    Some((values.program_commit, statement))
}

/// The `width` public values of an AIR.
fn values(proof: &Proof<SC>, air: usize, width: usize) -> Option<&[F]> {
    proof.public_values.get(air).map(Vec::as_slice).filter(|values| values.len() == width)
}

fn state(pc: F, root: &Digest) -> State {
    State { pc: pc.as_canonical_u32(), root: root.map(|word| word.as_canonical_u32()) }
}

/// Whether an execution has come to its end, with success.
fn ends(is_terminate: F, exit_code: F) -> bool {
    is_terminate.as_canonical_u32() == 1 && exit_code.as_canonical_u32() == 0
}

/// Turns at something that a few may do at a time; whoever has the lowest number goes first.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<TurnsState>,
    changed: Condvar,
}

#[derive(Default)]
struct TurnsState {
    /// How many may be taken at a time, and how many of these are not.
    most: usize,
    free: usize,
    waiting: BTreeSet<usize>,
}

/// A turn, until it is dropped.
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    fn lock(&self) -> MutexGuard<'_, TurnsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, `at_once` may be taken at a time, or more if that was so before.
    pub(super) fn allow(&self, at_once: usize) {
        let mut state = self.lock();
        let more = at_once.saturating_sub(state.most);
        (state.free, state.most) = (state.free + more, state.most + more);
        self.changed.notify_all();
    }

    /// Waits for one; numbers are all different.
    pub(super) fn take(&self, number: usize) -> Turn<'_> {
        let mut state = self.lock();
        state.waiting.insert(number);
        while state.free == 0 || state.waiting.first() != Some(&number) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        state.waiting.remove(&number);
        drop(state);
        // there may be another one for the next
        self.changed.notify_all();
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn turns_come_by_number_and_never_too_many() {
        let (turns, at_once, order) = (Turns::default(), AtomicUsize::new(0), Mutex::new(vec![]));
        [1, 2, 1].into_iter().for_each(|at_once| turns.allow(at_once));
        let begin = [turns.take(0), turns.take(1)];
        thread::scope(|scope| {
            for number in [9, 4, 7, 5] {
                let (turns, at_once, order) = (&turns, &at_once, &order);
                scope.spawn(move || {
                    let _turn = turns.take(number);
                    assert!(at_once.fetch_add(1, Ordering::SeqCst) < 2);
                    order.lock().unwrap().push(number);
                    thread::sleep(Duration::from_millis(5));
                    at_once.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while turns.lock().waiting.len() < 4 {
                thread::sleep(Duration::from_millis(1));
            }
            drop(begin);
        });
        let mut order = order.into_inner().unwrap();
        order[..2].sort();
        order[2..].sort();
        assert_eq!(order, [4, 5, 7, 9]);
    }
}
