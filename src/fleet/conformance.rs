//! What every driver has to hold, with stand-ins for devices and proofs.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc, Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::*;

/// What is tested.
pub(crate) trait Driver {
    /// Runs the jobs at the same time and returns what became of them.
    fn run(
        &self,
        jobs: &[Plan],
        executors: &[Arc<dyn Executor>],
        verifier: &Arc<dyn Verifier>,
    ) -> Vec<Result<Proved, JobError>>;
}

const GIB: u64 = 1 << 30;

/// A plan of `segments` segments, of which number i needs `bytes(i)`.
fn plan(job: &str, segments: usize, bytes: impl Fn(usize) -> u64) -> Plan {
    let segment = |segment: usize| PlannedSegment {
        place: SegmentPlace { segment, segments, first_instruction: segment as u64, instructions: 1 },
        device_bytes: bytes(segment),
    };
    Plan {
        job: job.into(),
        start: state(job, 0),
        segments: (0..segments).map(segment).collect(),
        aggregated: true,
        leaf_arity: Plan::LEAF_ARITY,
        internal_arity: Plan::INTERNAL_ARITY,
        node_bytes: 2 * GIB,
    }
}

/// The state of a job before instruction `at`.
fn state(job: &str, at: u64) -> State {
    let hash = Sha256::digest(format!("{job} {at}"));
    State { pc: 4 * at as u32, root: std::array::from_fn(|i| u32::from(hash[i])) }
}

/// A proof that is none, but as hard to take for another.
#[derive(Serialize, Deserialize)]
struct StandIn {
    job: String,
    kind: TaskKind,
    statement: Statement,
}

/// The proof, behind its hash.
fn sealed(stand_in: &StandIn) -> Vec<u8> {
    let text = serde_json::to_vec(stand_in).unwrap();
    [&Sha256::digest(&text)[..], &text].concat()
}

fn opened(result: &[u8]) -> Result<StandIn, String> {
    let (hash, text) = result.split_at_checked(32).ok_or("too short")?;
    match hash == &Sha256::digest(text)[..] {
        true => serde_json::from_slice(text).map_err(|error| error.to_string()),
        false => Err("it does not verify".into()),
    }
}

pub(crate) struct StandInVerifier;

impl Verifier for StandInVerifier {
    fn verify(&self, task: &Task, result: &TaskResult) -> Result<Statement, String> {
        let StandIn { job, kind, statement } = opened(result)?;
        match job == task.job && kind == task.kind {
            true => Ok(statement),
            false => Err("a proof of another program, or another kind".into()),
        }
    }
}

/// What a stand-in does with a task instead of the right thing: returns `None` to do the right thing.
type Trouble = dyn Fn(&Task, &[TaskResult]) -> Option<Result<TaskResult, TaskError>> + Send + Sync;

/// A stand-in for a device.
struct Device {
    memory: u64,
    lost: AtomicBool,
    trouble: Box<Trouble>,
    log: Arc<Log>,
}

/// What has run.
#[derive(Default)]
struct Log {
    runs: Mutex<HashMap<String, usize>>,
    misfits: AtomicUsize,
    /// The longest time that a device had nothing to do though tasks were ready: between two of its tasks.
    idle: Mutex<Vec<Duration>>,
}

impl Log {
    /// Tasks that ran, and how often the busiest one did.
    fn counts(&self) -> (usize, usize) {
        let runs = self.runs.lock().unwrap();
        (runs.len(), runs.values().copied().max().unwrap_or(0))
    }
}

impl Device {
    fn of(memory: u64, log: &Arc<Log>) -> Self {
        Self { memory, lost: AtomicBool::new(false), trouble: Box::new(|_, _| None), log: log.clone() }
    }

    /// One of 4 GiB, in trouble.
    fn in_trouble(
        log: &Arc<Log>,
        trouble: impl Fn(&Task, &[TaskResult]) -> Option<Result<TaskResult, TaskError>> + Send + Sync + 'static,
    ) -> Arc<dyn Executor> {
        Arc::new(Self { trouble: Box::new(trouble), ..Self::of(4 * GIB, log) })
    }
}

/// The right result of a task.
fn right(task: &Task, inputs: &[TaskResult]) -> StandIn {
    let statement = match task.segment {
        Some(PlannedSegment { place: SegmentPlace { segment, segments, .. }, .. }) => Statement {
            before: state(&task.job, segment as u64),
            after: state(&task.job, segment as u64 + 1),
            terminates: segment + 1 == segments,
        },
        None => {
            let parts: Vec<_> = inputs.iter().map(|input| opened(input).unwrap().statement).collect();
            Statement::joined(&parts).unwrap()
        }
    };
    StandIn { job: task.job.clone(), kind: task.kind, statement }
}

impl Executor for Device {
    fn name(&self) -> String {
        format!("stand-in of {} bytes", self.memory)
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn run(&self, task: &Task, inputs: &[TaskResult], _: &Cancellation) -> Result<TaskResult, TaskError> {
        *self.log.runs.lock().unwrap().entry(task.id.clone()).or_default() += 1;
        self.log.misfits.fetch_add(usize::from(task.device_bytes > self.memory), Ordering::Relaxed);
        if let Some(result) = (self.trouble)(task, inputs) {
            if result == Err(TaskError::Device("lost".into())) {
                self.lost.store(true, Ordering::Relaxed);
            }
            return result;
        }
        Ok(Arc::new(sealed(&right(task, inputs))))
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn verifier() -> Arc<dyn Verifier> {
    Arc::new(StandInVerifier)
}

/// A job's results are right: each segment's own, and a root over all of them.
fn check(plan: &Plan, outcome: &Result<Proved, JobError>) {
    let proved = outcome.as_ref().unwrap();
    assert_eq!(proved.segments.len(), plan.segments.len());
    for (index, result) in proved.segments.iter().enumerate() {
        let statement = opened(result).unwrap().statement;
        assert_eq!(
            (statement.before, statement.after),
            (state(&plan.job, index as u64), state(&plan.job, index as u64 + 1))
        );
    }
    let root = opened(proved.root.as_ref().unwrap()).unwrap();
    assert_eq!((root.kind, root.job.as_str(), root.statement.before), (TaskKind::Wrap, plan.job.as_str(), plan.start));
    assert!(root.statement.terminates && root.statement.after == state(&plan.job, plan.segments.len() as u64));
}

/// A job by itself, which comes to its end.
fn run_one(driver: &impl Driver, plan: &Plan, devices: &[Arc<dyn Executor>]) -> Proved {
    let outcome = driver.run(std::slice::from_ref(plan), devices, &verifier()).remove(0);
    check(plan, &outcome);
    outcome.unwrap()
}

/// More than `segments` tasks on `devices` devices, each task once, and no device idles between two of them for long while tasks are there.
pub(crate) fn each_task_once(driver: &impl Driver, segments: usize, devices: usize) {
    const MOST_IDLE: Duration = Duration::from_millis(50);
    let plan = plan("once", segments, |_| GIB);
    let log = Arc::new(Log::default());
    let device = |_| {
        let (ended, idles) = (Mutex::new(None::<Instant>), log.clone());
        let trouble = move |task: &Task, _: &[TaskResult]| {
            let mut ended = ended.lock().unwrap();
            // segments are plenty until the last ones
            if let Some(ended) = ended.filter(|_| task.kind == TaskKind::Segment && task.index + 64 < segments) {
                idles.idle.lock().unwrap().push(ended.elapsed());
            }
            thread::sleep(Duration::from_millis(2));
            *ended = Some(Instant::now());
            None
        };
        Device::in_trouble(&log, trouble)
    };
    let devices: Vec<_> = (0..devices).map(device).collect();
    run_one(driver, &plan, &devices);
    let tasks = Graph::new(&plan).unwrap().tasks().len();
    assert!(tasks >= segments * 4 / 3);
    assert_eq!(log.counts(), (tasks, 1));
    // of many devices on few cores, the typical one
    let mut idle = log.idle.lock().unwrap().clone();
    idle.sort();
    let typical = idle[idle.len() / 2];
    println!(
        "{tasks} tasks, idle between two: half at most {typical:?}, 99 of 100 at most {:?}",
        idle[idle.len() * 99 / 100]
    );
    assert!(typical <= MOST_IDLE, "{typical:?}");
}

/// Devices of 4, 8 and 24 GiB, and segments of up to 15.
pub(crate) fn mixed_budgets(driver: &impl Driver) {
    let sizes = [1, 3, 4, 7, 8, 15];
    let plan = plan("mixed", 120, |i| sizes[i * 5 % sizes.len()] * GIB);
    let log = Arc::new(Log::default());
    let device = |memory| Arc::new(Device::of(memory * GIB, &log)) as Arc<dyn Executor>;
    run_one(driver, &plan, &[4, 4, 8, 24].map(device));
    assert_eq!((log.misfits.load(Ordering::Relaxed), log.counts().1), (0, 1));
    // what fits nowhere ends the job
    let outcomes = driver.run(std::slice::from_ref(&plan), &[4, 8].map(device), &verifier());
    assert!(matches!(outcomes[0], Err(JobError::NoDevice(_))), "{outcomes:?}");
    assert_eq!(log.misfits.load(Ordering::Relaxed), 0);
}

/// A device is lost in mid-task: the task alone runs again.
pub(crate) fn lost_device(driver: &impl Driver) {
    let plan = plan("lost", 40, |_| GIB);
    let log = Arc::new(Log::default());
    let (tasks, is_lost) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let known = is_lost.clone();
    let lost = move |_: &Task, _: &[TaskResult]| {
        let fails = tasks.fetch_add(1, Ordering::Relaxed) >= 2;
        is_lost.fetch_or(fails, Ordering::Relaxed);
        fails.then(|| Err(TaskError::Device("lost".into())))
    };
    // goes on when the other one is gone, so that it always comes to that
    let slow = move |_: &Task, _: &[TaskResult]| {
        wait_until(|| known.load(Ordering::Relaxed));
        None
    };
    let devices = [Device::in_trouble(&log, lost), Device::in_trouble(&log, slow)];
    run_one(driver, &plan, &devices);
    let runs = log.runs.lock().unwrap();
    assert_eq!(runs.values().sum::<usize>(), runs.len() + 1);
}

/// `results` results with a flipped bit, cut short, of another segment, of another program: none counts.
pub(crate) fn bad_results(driver: &impl Driver, results: usize) {
    let delivered = Arc::new(AtomicUsize::new(0));
    let mut rejected = 0;
    for round in 0..results.div_ceil(MOST_BAD_RESULTS) {
        let plan = plan(&format!("bad {round}"), 10, |_| GIB);
        let log = Arc::new(Log::default());
        let (count, before) = (delivered.clone(), delivered.load(Ordering::Relaxed));
        let bad = move |task: &Task, inputs: &[TaskResult]| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let mut stand_in = right(task, inputs);
            let mut result = sealed(&stand_in);
            match round % 4 {
                0 => result[number % 32] ^= 1 << (number % 8),
                1 => result.truncate(result.len() - 1 - number % 40),
                2 => {
                    stand_in.statement.before = state(&task.job, 77);
                    result = sealed(&stand_in);
                }
                _ => {
                    stand_in.job = "another".into();
                    result = sealed(&stand_in);
                }
            }
            Some(Ok(Arc::new(result)))
        };
        let count = delivered.clone();
        let good = move |_: &Task, _: &[TaskResult]| {
            wait_until(|| count.load(Ordering::Relaxed) >= before + MOST_BAD_RESULTS);
            None
        };
        let devices = [Device::in_trouble(&log, bad), Device::in_trouble(&log, good)];
        rejected += run_one(driver, &plan, &devices).rejected;
    }
    let delivered = delivered.load(Ordering::Relaxed);
    assert!(delivered >= results && rejected == delivered, "{rejected} of {delivered}");
}

/// The job ends with the guest's text while another one goes on.
pub(crate) fn guest_that_traps(driver: &impl Driver) {
    let plans = [plan("traps", 30, |_| GIB), plan("goes on", 30, |_| GIB)];
    let log = Arc::new(Log::default());
    let device = |_| {
        let trap = |task: &Task, _: &[TaskResult]| {
            thread::sleep(Duration::from_millis(1));
            (task.job == "traps" && task.index == 3).then(|| Err(TaskError::Guest("trap at pc 0x1234".into())))
        };
        Device::in_trouble(&log, trap)
    };
    let start = Instant::now();
    let outcomes = driver.run(&plans, &[(); 3].map(device), &verifier());
    assert_eq!(outcomes[0].as_ref().err(), Some(&JobError::Guest("trap at pc 0x1234".into())));
    check(&plans[1], &outcomes[1]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A worker that freezes and wakes up late: its task runs elsewhere, and its result does no harm.
pub(crate) fn frozen_worker(driver: &impl Driver) {
    let plan = plan("frozen", 12, |_| GIB);
    let log = Arc::new(Log::default());
    let is_frozen = Arc::new(AtomicBool::new(false));
    let known = is_frozen.clone();
    let frozen = move |_: &Task, _: &[TaskResult]| {
        if !is_frozen.swap(true, Ordering::Relaxed) {
            thread::sleep(Duration::from_secs(5));
        }
        None
    };
    let other = move |_: &Task, _: &[TaskResult]| {
        wait_until(|| known.load(Ordering::Relaxed));
        None
    };
    let devices = [Device::in_trouble(&log, frozen), Device::in_trouble(&log, other)];
    run_one(driver, &plan, &devices);
    let runs = log.runs.lock().unwrap();
    assert!(runs.values().sum::<usize>() <= runs.len() + 1, "{runs:?}");
}

/// Without a device, and without segments, a job ends with an error.
pub(crate) fn no_device(driver: &impl Driver) {
    let (some, none) = (plan("none", 3, |_| GIB), plan("empty", 0, |_| GIB));
    let outcomes = driver.run(&[some, none], &[], &verifier());
    assert!(matches!(outcomes[..], [Err(JobError::NoDevice(_)), Err(JobError::Plan(_))]), "{outcomes:?}");
}
