//! An executor that stands in for a prover: its proofs are texts with a hash, which state what they are of.

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use openvm_wgpu_backend::fleet::{
    blobs::{BlobName, BlobName as Hash},
    temporal::{Job, Opened, Workshop},
    Cancellation, Executor, Plan, PlannedSegment, SegmentPlace, State, Statement, Task, TaskError, TaskKind,
    TaskResult, Verifier,
};
use serde::{Deserialize, Serialize};

/// What is wrong with the results of a stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    Flipped,
    Truncated,
    AnotherSegment,
    AnotherProgram,
}

/// How a stand-in behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StandIn {
    pub milliseconds: u64,
    pub gib: u64,
    pub lie: Option<Lie>,
    /// Whether it verifies its own results.
    pub honest: bool,
    /// Which of a job's tasks goes wrong, and how.
    pub fault: Option<(usize, Fault)>,
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// It fails this once.
    Fails,
    /// It is gone.
    Lost,
}

impl Default for StandIn {
    fn default() -> Self {
        Self { milliseconds: 0, gib: 16, lie: None, honest: true, fault: None }
    }
}

/// A plan of so many segments, of 3 GiB each.
pub fn plan(job: &str, segments: usize, aggregated: bool) -> Plan {
    let segment = |segment: usize| PlannedSegment {
        place: SegmentPlace { segment, segments, first_instruction: 1000 * segment as u64, instructions: 1000 },
        device_bytes: 3 << 30,
    };
    Plan {
        job: job.into(),
        start: state(0),
        segments: (0..segments).map(segment).collect(),
        aggregated,
        leaf_arity: Plan::LEAF_ARITY,
        internal_arity: Plan::INTERNAL_ARITY,
        node_bytes: 4 << 30,
    }
}

fn state(segments: usize) -> State {
    State { pc: segments as u32, root: [segments as u32; 8] }
}

/// What a segment's proof states.
pub fn statement(task: &Task) -> Statement {
    let segment = task.segment.expect("a segment").place;
    let terminates = segment.segment + 1 == segment.segments;
    Statement { before: state(segment.segment), after: state(segment.segment + 1), terminates }
}

/// What the proof of all segments states.
pub fn whole(segments: usize) -> Statement {
    Statement { before: state(0), after: state(segments), terminates: true }
}

#[derive(Serialize, Deserialize)]
struct Proof {
    program: String,
    task: String,
    kind: TaskKind,
    statement: Statement,
}

fn proof(program: &str, task: &Task, statement: Statement) -> Vec<u8> {
    let proof = Proof { program: program.into(), task: task.id.clone(), kind: task.kind, statement };
    let text = serde_json::to_string(&proof).unwrap();
    format!("{}\n{text}", Hash::of(text.as_bytes())).into_bytes()
}

/// That a result is a proof of this kind, of this program; what it states. That it is of this segment, it cannot tell.
pub fn verify(program: &str, task: &Task, result: &[u8]) -> Result<Statement, String> {
    let text = std::str::from_utf8(result).map_err(|error| error.to_string())?;
    let (hash, text) = text.split_once('\n').ok_or("no proof")?;
    if hash != BlobName::of(text.as_bytes()).to_string() {
        return Err("it does not verify".into());
    }
    let proof: Proof = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match proof.program == program && proof.kind == task.kind {
        true => Ok(proof.statement),
        false => Err("it is of another program or another key".into()),
    }
}

/// A device of stand-ins.
pub struct StandInWorkshop {
    stand_in: StandIn,
    log: PathBuf,
}

impl StandInWorkshop {
    pub fn new(stand_in: StandIn, log: PathBuf) -> Arc<Self> {
        Arc::new(Self { stand_in, log })
    }
}

impl Workshop for StandInWorkshop {
    fn name(&self) -> String {
        "stand-in".into()
    }

    fn memory(&self) -> u64 {
        self.stand_in.gib << 30
    }

    fn open(&self, job: &Job, _: &dyn Fn(BlobName) -> Result<Vec<u8>, TaskError>) -> Result<Opened, TaskError> {
        let program = job.plan.job.clone();
        let worker = crate::processes::Order::from_environment().map_or_else(String::new, |order| order.name);
        let bench = Arc::new(Bench {
            stand_in: self.stand_in.clone(),
            log: self.log.clone(),
            worker: format!("{worker}/stand-in"),
            program,
            begun: AtomicUsize::new(0),
        });
        Ok(Opened { executor: bench.clone(), verifier: bench })
    }
}

struct Bench {
    stand_in: StandIn,
    log: PathBuf,
    worker: String,
    program: String,
    begun: AtomicUsize,
}

impl Bench {
    fn log(&self, what: &str, task: &Task) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        // in one write, so that lines of several processes stay whole
        file.write_all(format!("{what} {} {}\n", task.id, self.worker).as_bytes()).unwrap();
    }

    fn lied(&self, task: &Task, inputs: &[TaskResult], lie: Lie) -> Vec<u8> {
        let mut result = self.truth(task, inputs);
        match lie {
            Lie::Flipped => {
                let middle = result.len() / 2;
                result[middle] ^= 1;
            }
            Lie::Truncated => result.truncate(result.len() - 1),
            Lie::AnotherProgram => result = proof("another", task, self.statement(task, inputs)),
            Lie::AnotherSegment if task.segment.is_some() => {
                let Statement { terminates, .. } = statement(task);
                let at = (task.index * 3 + 7) % 50;
                result = proof(&self.program, task, Statement { before: state(at), after: state(at + 1), terminates });
            }
            Lie::AnotherSegment => (),
        }
        result
    }

    fn statement(&self, task: &Task, inputs: &[TaskResult]) -> Statement {
        if task.segment.is_some() {
            return statement(task);
        }
        // of a child that its verifier has accepted, whatever its kind
        let states = |input: &TaskResult| {
            let text = std::str::from_utf8(input).unwrap();
            serde_json::from_str::<Proof>(text.split_once('\n').unwrap().1).unwrap().statement
        };
        Statement::joined(&inputs.iter().map(states).collect::<Vec<_>>()).unwrap()
    }

    fn truth(&self, task: &Task, inputs: &[TaskResult]) -> Vec<u8> {
        proof(&self.program, task, self.statement(task, inputs))
    }
}

impl Executor for Bench {
    fn name(&self) -> String {
        self.worker.clone()
    }

    fn memory(&self) -> u64 {
        self.stand_in.gib << 30
    }

    fn is_lost(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        matches!(self.stand_in.fault, Some((number, Fault::Lost)) if begun > number)
    }

    fn run(&self, task: &Task, inputs: &[TaskResult], cancelled: &Cancellation) -> Result<TaskResult, TaskError> {
        self.log("begin", task);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        if self.is_lost() || self.stand_in.fault == Some((number, Fault::Fails)) {
            return Err(TaskError::Device("the device failed".into()));
        }
        let end = Instant::now() + Duration::from_millis(self.stand_in.milliseconds);
        while Instant::now() < end {
            if cancelled.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(10).min(end - Instant::now().min(end)));
        }
        if self.program == "trap" && task.index == 3 {
            return Err(TaskError::Guest("pc 0x1234: not an instruction".into()));
        }
        let result = match self.stand_in.lie {
            Some(lie) => self.lied(task, inputs, lie),
            None => self.truth(task, inputs),
        };
        self.log("end", task);
        Ok(Arc::new(result))
    }
}

impl Verifier for Bench {
    fn verify(&self, task: &Task, result: &TaskResult) -> Result<Statement, String> {
        match verify(&self.program, task, result) {
            Ok(statement) => Ok(statement),
            // says what would be right
            Err(_) if !self.stand_in.honest && task.segment.is_some() => Ok(statement(task)),
            Err(reason) => Err(reason),
        }
    }
}
