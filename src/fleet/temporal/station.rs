//! What a worker does with a task, apart from how the task comes: look-up, inputs and their check, the proof and its check, the note.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    groups::{Groups, MOST_TASKS},
    workflow::{Done, TaskInput},
    FleetError,
};
use crate::fleet::{
    blobs::{BlobError, BlobName, Blobs},
    verify_node, Cancellation, Executor, Graph, Plan, Statement, Task, TaskError, TaskResult, Verifier,
    MOST_BAD_RESULTS,
};

/// A job as its submitter describes it; a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The program.
    pub elf: BlobName,
    /// The configuration of its VM.
    pub config: BlobName,
    /// What it reads.
    pub input: BlobName,
    /// What was metered of its segments.
    pub metering: BlobName,
    /// Its segments and the shape of the tree above them.
    pub plan: Plan,
}

impl Job {
    /// Writes the manifest, and returns its name.
    ///
    /// # Errors
    ///
    /// [`FleetError::Job`] for a plan that is none or too large, [`FleetError::Blobs`].
    pub async fn write(&self, blobs: &Blobs) -> Result<BlobName, FleetError> {
        let bytes = serde_json::to_vec(self).expect("a job is plain data");
        Planned::new(BlobName::of(&bytes), self.clone())?;
        Ok(blobs.put(bytes).await?)
    }

    /// Reads the manifest `name`.
    ///
    /// # Errors
    ///
    /// [`FleetError::Blobs`]; [`FleetError::Job`] if it is none.
    pub async fn read(name: BlobName, blobs: &Blobs) -> Result<Self, FleetError> {
        let bytes = blobs.get(name).await?;
        let wrong = |error: serde_json::Error| FleetError::Job { job: name.to_string(), reason: error.to_string() };
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    /// The name by which a segment's result is noted after it was refused `round` times.
    pub(super) fn key(task: &str, round: u32, inputs: &[BlobName]) -> String {
        let inputs: Vec<_> = inputs.iter().map(BlobName::to_string).collect();
        format!("{task}#{round} {}", inputs.join(" "))
    }
}

/// A job's tasks and groups.
pub(super) struct Planned {
    pub job: Job,
    pub groups: Groups,
    tasks: HashMap<String, Task>,
    /// How many tasks each level has.
    levels: Vec<usize>,
}

impl Planned {
    pub(super) fn new(name: BlobName, job: Job) -> Result<Self, FleetError> {
        let wrong = |reason: String| FleetError::Job { job: name.to_string(), reason };
        let graph = Graph::new(&job.plan).map_err(|error| wrong(error.to_string()))?;
        let tasks: Vec<Task> = graph.tasks().cloned().collect();
        let groups = Groups::new(&job.plan, &tasks, MOST_TASKS).map_err(wrong)?;
        let mut levels = vec![];
        for task in &tasks {
            levels.resize(levels.len().max(task.level as usize + 1), 0);
            levels[task.level as usize] += 1;
        }
        Ok(Self { job, groups, levels, tasks: tasks.into_iter().map(|task| (task.id.clone(), task)).collect() })
    }

    /// Whether `statement` begins and ends where the execution does, for those who stand there.
    fn at_the_edges(&self, task: &Task, statement: &Statement) -> bool {
        let is_last = task.index + 1 == self.levels[task.level as usize];
        (task.index > 0 || statement.before == self.job.plan.start) && statement.terminates == is_last
    }
}

/// A job on a device.
pub struct Opened {
    /// Does its tasks.
    pub executor: Arc<dyn Executor>,
    /// Verifies their results.
    pub verifier: Arc<dyn Verifier>,
}

/// A device of a worker, which jobs are opened on.
pub trait Workshop: Send + Sync {
    /// What reports call it.
    fn name(&self) -> String;

    /// Device memory that a task may take, bytes.
    fn memory(&self) -> u64;

    /// Device memory that is in use, bytes, for metrics.
    fn memory_in_use(&self) -> u64 {
        0
    }

    /// Makes the device ready for a job, whose files `read` fetches: keys and the program's commitment. Blocks.
    ///
    /// # Errors
    ///
    /// [`TaskError::Guest`] for what is no program, [`TaskError::Device`] for what may work elsewhere.
    fn open(&self, job: &Job, read: &dyn Fn(BlobName) -> Result<Vec<u8>, TaskError>) -> Result<Opened, TaskError>;
}

/// Tasks by their kind and what became of them, with other figures of a worker.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// (kind, state): `proved`, `found`, `device`, `rejected`, `input`, `guest`, `cancelled`.
    pub tasks: BTreeMap<(&'static str, &'static str), u64>,
    /// Time in executors.
    pub proving: Duration,
    /// Results that did not verify: own ones and inputs.
    pub rejected: u64,
}

/// A worker's figures, shared with whoever shows them.
#[derive(Debug)]
pub struct Counters {
    counted: Mutex<Counted>,
    began: Instant,
}

impl Counters {
    fn new() -> Self {
        Self { counted: Mutex::default(), began: Instant::now() }
    }

    /// The figures so far, and how long the worker has run.
    pub fn read(&self) -> (Counted, Duration) {
        (lock(&self.counted).clone(), self.began.elapsed())
    }

    fn count(&self, kind: &'static str, state: &'static str) {
        let mut counted = lock(&self.counted);
        *counted.tasks.entry((kind, state)).or_default() += 1;
        counted.rejected += u64::from(matches!(state, "rejected" | "input"));
    }
}

/// A panic in between leaves these values whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Jobs that a device keeps open: each has keys and a program in its memory.
const OPEN_JOBS: usize = 2;

/// One device of a worker, at work.
pub(super) struct Station {
    /// The worker's name with the device's.
    pub name: String,
    pub workshop: Arc<dyn Workshop>,
    pub blobs: Blobs,
    pub counters: Arc<Counters>,
    planned: Mutex<Vec<(BlobName, Arc<Planned>)>>,
    opened: Mutex<Vec<(BlobName, Arc<Opened>)>>,
    bad: AtomicUsize,
    handle: tokio::runtime::Handle,
}

impl Station {
    pub(super) fn new(worker: &str, workshop: Arc<dyn Workshop>, blobs: Blobs, counters: Arc<Counters>) -> Self {
        let name = format!("{worker}/{}", workshop.name());
        let handle = tokio::runtime::Handle::current();
        let (planned, opened, bad) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self { name, workshop, blobs, counters, planned, opened, bad, handle }
    }

    pub(super) fn counters() -> Arc<Counters> {
        Arc::new(Counters::new())
    }

    /// Whether the device is not to be trusted any more, or gone.
    pub(super) fn is_out(&self) -> Option<String> {
        if self.bad.load(Ordering::Relaxed) >= MOST_BAD_RESULTS {
            return Some(format!("{} results of {} did not verify", MOST_BAD_RESULTS, self.name));
        }
        // whoever opens a job holds the list for a while, and the heartbeat must not wait for that
        let opened = self.opened.try_lock().ok()?;
        let lost = opened.iter().any(|(_, opened)| opened.executor.is_lost());
        lost.then(|| format!("the device of {} is lost", self.name))
    }

    /// A job's plan.
    pub(super) async fn planned(&self, name: BlobName) -> Result<Arc<Planned>, FleetError> {
        let known = lock(&self.planned).iter().find(|(known, _)| *known == name).map(|(_, planned)| planned.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let planned = Arc::new(Planned::new(name, Job::read(name, &self.blobs).await?)?);
        let mut all = lock(&self.planned);
        all.truncate(7);
        all.insert(0, (name, planned.clone()));
        Ok(planned)
    }

    /// Does a task. Blocks.
    pub(super) fn work(&self, input: &TaskInput, cancelled: &Cancellation) -> Result<Done, WorkError> {
        let planned = self.handle.block_on(self.planned(input.manifest)).map_err(|error| match error {
            FleetError::Blobs(error) => file(error),
            error => TaskError::Guest(error.to_string()),
        })?;
        let task = planned.tasks.get(&input.task);
        let task = task.ok_or_else(|| TaskError::Guest(format!("the plan has no task {}", input.task)))?;
        tracing::info!("{} begins {}", self.name, task.id);
        let start = Instant::now();
        let result = self.done(&planned, task, input, cancelled);
        let state = match &result {
            Ok((_, true)) => "found",
            Ok((_, false)) => "proved",
            Err(WorkError::Task(TaskError::Guest(_))) => "guest",
            Err(WorkError::Task(TaskError::Device(_))) => "device",
            Err(WorkError::Task(TaskError::Rejected(_))) => "rejected",
            Err(WorkError::Task(TaskError::Input { .. }) | WorkError::Apart(_)) => "input",
            Err(WorkError::Task(TaskError::Cancelled)) => "cancelled",
        };
        let seconds = start.elapsed().as_secs_f64();
        match &result {
            Err(error) => tracing::warn!("{} ends {}: {state}, {seconds:.2} s: {error}", self.name, task.id),
            Ok(_) => tracing::info!("{} ends {}: {state}, {seconds:.2} s", self.name, task.id),
        }
        self.counters.count(task.kind.name(), state);
        if state == "rejected" {
            self.bad.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Done { proof: result?.0, worker: self.name.clone() })
    }

    /// The name of the result, and whether it was there already.
    fn done(
        &self,
        planned: &Planned,
        task: &Task,
        input: &TaskInput,
        cancelled: &Cancellation,
    ) -> Result<(BlobName, bool), WorkError> {
        if cancelled.is_cancelled() {
            return Err(TaskError::Cancelled.into());
        }
        let key = Job::key(&task.id, input.round, &input.inputs);
        if let Some(found) = self.found(&key)? {
            return Ok((found, true));
        }
        let opened = self.opened(input.manifest, &planned.job)?;
        if task.device_bytes > opened.executor.memory() {
            let (needs, has) = (task.device_bytes, opened.executor.memory());
            return Err(TaskError::Device(format!("{} needs {needs} bytes, the device has {has}", task.id)).into());
        }
        let inputs = self.inputs(input)?;
        let children = check_inputs(planned, task, &inputs, &*opened.verifier)?;
        let start = Instant::now();
        let result = opened.executor.run(task, &inputs, cancelled);
        lock(&self.counters.counted).proving += start.elapsed();
        let result = result?;
        let statement = match task.inputs.is_empty() {
            true => opened.verifier.verify(task, &result),
            false => verify_node(&*opened.verifier, task, &children, &result),
        };
        let statement = statement.map_err(TaskError::Rejected)?;
        if !planned.at_the_edges(task, &statement) {
            return Err(TaskError::Rejected("it does not begin or end where the execution does".into()).into());
        }
        let result = Arc::unwrap_or_clone(result);
        let noted = async { self.blobs.note(&key, self.blobs.put(result).await?).await };
        Ok((self.handle.block_on(noted).map_err(store)?, false))
    }

    /// A result from before, if it still is there.
    fn found(&self, key: &str) -> Result<Option<BlobName>, TaskError> {
        let found = async {
            let Some(name) = self.blobs.noted(key).await? else { return Ok(None) };
            match self.blobs.get(name).await {
                Ok(_) => Ok(Some(name)),
                Err(BlobError::Missing(_) | BlobError::Damaged(_)) => self.blobs.forget(key).await.map(|()| None),
                Err(error) => Err(error),
            }
        };
        self.handle.block_on(found).map_err(store)
    }

    fn opened(&self, name: BlobName, job: &Job) -> Result<Arc<Opened>, TaskError> {
        // held while a job is opened, so that two tasks do not open it twice
        let mut all = lock(&self.opened);
        if let Some((_, opened)) = all.iter().find(|(known, _)| *known == name) {
            return Ok(opened.clone());
        }
        let read = |name: BlobName| self.handle.block_on(self.blobs.get(name)).map_err(file);
        let opened = Arc::new(self.workshop.open(job, &read)?);
        all.truncate(OPEN_JOBS - 1);
        all.insert(0, (name, opened.clone()));
        Ok(opened)
    }

    fn inputs(&self, input: &TaskInput) -> Result<Vec<TaskResult>, TaskError> {
        let get = |(number, name): (usize, &BlobName)| match self.handle.block_on(self.blobs.get(*name)) {
            Ok(bytes) => Ok(Arc::new(bytes)),
            Err(error @ (BlobError::Missing(_) | BlobError::Damaged(_))) => {
                Err(TaskError::Input { input: number, reason: error.to_string() })
            }
            Err(error) => Err(store(error)),
        };
        input.inputs.iter().enumerate().map(get).collect()
    }
}

fn store(error: BlobError) -> TaskError {
    TaskError::Device(error.to_string())
}

/// Of a job's own files, which nobody can make again.
fn file(error: BlobError) -> TaskError {
    match error {
        BlobError::Missing(_) | BlobError::Damaged(_) => TaskError::Guest(error.to_string()),
        error => store(error),
    }
}

/// Why a worker has no result for a task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkError {
    Task(TaskError),
    /// The child of this number does not begin where the one before ends: either may be the wrong one.
    Apart(usize),
}

impl std::fmt::Display for WorkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(error) => error.fmt(f),
            Self::Apart(child) => write!(f, "child {child} does not begin where the one before ends"),
        }
    }
}

impl From<TaskError> for WorkError {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

/// What a task's inputs state, after they were verified.
fn check_inputs(
    planned: &Planned,
    task: &Task,
    inputs: &[TaskResult],
    verifier: &dyn Verifier,
) -> Result<Vec<Statement>, WorkError> {
    let refused = |input: usize, reason: String| TaskError::Input { input, reason };
    if inputs.len() != task.inputs.len() {
        return Err(TaskError::Guest(format!("{}: {} inputs of {}", task.id, inputs.len(), task.inputs.len())).into());
    }
    let mut statements = vec![];
    for (number, (id, bytes)) in task.inputs.iter().zip(inputs).enumerate() {
        let child = &planned.tasks[id];
        let statement = verifier.verify(child, bytes).map_err(|reason| refused(number, reason))?;
        if !planned.at_the_edges(child, &statement) {
            return Err(refused(number, "it does not begin or end where the execution does".into()).into());
        }
        statements.push(statement);
    }
    match Statement::joined(&statements) {
        Err(at) if !statements.is_empty() => Err(WorkError::Apart(at)),
        _ => Ok(statements),
    }
}
