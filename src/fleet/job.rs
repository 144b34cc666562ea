//! One job on its way: its graph and chain with the results, as a driver within a process has them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Cancellation, Chain, Graph, Plan, PlanError, Statement, Task, TaskKind, TaskResult};

/// What a job has made.
#[derive(Clone, Debug)]
pub struct Proved<R = TaskResult> {
    /// The segments' results, in order.
    pub segments: Vec<R>,
    /// The aggregated one, if the plan asks for it.
    pub root: Option<R>,
    /// Results that did not count because they do not verify or fit.
    pub rejected: usize,
}

/// Why a job has no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is nothing that could be proved.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The guest failed; its own text.
    #[error("{0}")]
    Guest(String),
    /// No device is left that could go on; what the last one said.
    #[error("no device is left for what is to be proved: {0}")]
    NoDevice(String),
    /// An executor said [`Cancelled`](super::TaskError::Cancelled): nobody wants the proof any more.
    #[error("cancelled")]
    Cancelled,
}

/// Who has a task, since when.
struct UnderWay {
    workers: usize,
    since: Instant,
}

/// A job that a driver runs.
pub(super) struct Job<R> {
    graph: Graph,
    chain: Chain,
    results: HashMap<String, R>,
    statements: HashMap<String, Statement>,
    /// Segments that wait for those before them, with who proved them.
    waiting: HashMap<usize, (Task, R, usize)>,
    under_way: HashMap<String, UnderWay>,
    pub(super) cancelled: Cancellation,
    pub(super) rejected: usize,
    pub(super) last_failure: String,
}

impl<R: Clone> Job<R> {
    pub(super) fn new(plan: &Plan) -> Result<Self, PlanError> {
        Ok(Self {
            graph: Graph::new(plan)?,
            chain: Chain::new(plan.start, plan.segments.len()),
            results: HashMap::new(),
            statements: HashMap::new(),
            waiting: HashMap::new(),
            under_way: HashMap::new(),
            cancelled: Cancellation::default(),
            rejected: 0,
            last_failure: "none has the memory".into(),
        })
    }

    /// The next task of the kinds that are `wanted` for a device of `memory` bytes: one that can begin, else one that somebody has had for
    /// longer than `patience`.
    pub(super) fn take(
        &mut self,
        memory: u64,
        patience: Option<Duration>,
        wanted: &dyn Fn(TaskKind) -> bool,
    ) -> Option<Task> {
        let task = self.graph.take_of(memory, wanted).or_else(|| self.overdue(memory, patience?, wanted))?;
        let under_way = self.under_way.entry(task.id.clone());
        under_way.or_insert(UnderWay { workers: 0, since: Instant::now() }).workers += 1;
        Some(task)
    }

    fn overdue(&self, memory: u64, patience: Duration, wanted: &dyn Fn(TaskKind) -> bool) -> Option<Task> {
        let is_overdue = |(_, one): &(&String, &UnderWay)| one.workers == 1 && one.since.elapsed() > patience;
        let overdue = self.under_way.iter().filter(is_overdue);
        let tasks = overdue.filter_map(|(id, _)| self.graph.task(id)).filter(|task| !self.is_settled(task));
        let fits = |task: &&Task| task.device_bytes <= memory && wanted(task.kind);
        tasks.filter(fits).min_by_key(|task| task.index).cloned()
    }

    /// Whether a result is there, or waits for those before it.
    pub(super) fn is_settled(&self, task: &Task) -> bool {
        self.graph.has(&task.id) || task.kind == TaskKind::Segment && self.waiting.contains_key(&task.index)
    }

    /// What a task takes: results of its children, and what they state.
    pub(super) fn inputs(&self, task: &Task) -> (Vec<R>, Vec<Statement>) {
        let result = |id: &String| (self.results[id].clone(), self.statements[id]);
        task.inputs.iter().map(result).unzip()
    }

    /// A worker has ended with a task, whatever came of it.
    pub(super) fn ended(&mut self, task: &Task) {
        if let Some(under_way) = self.under_way.get_mut(&task.id) {
            under_way.workers -= 1;
            if under_way.workers == 0 {
                self.under_way.remove(&task.id);
            }
        }
    }

    /// A task has no result, and runs again unless somebody else has it.
    pub(super) fn failed(&mut self, task: &Task, reason: String) {
        self.last_failure = reason;
        if !self.under_way.contains_key(&task.id) && !self.is_settled(task) {
            self.graph.give_back(&task.id);
        }
    }

    /// A child's result does not verify for whoever takes it: it is made again.
    pub(super) fn revoke(&mut self, task: &Task, input: usize) {
        let mut of_no_use: Vec<String> = task.inputs.get(input).cloned().into_iter().collect();
        while let Some(id) = of_no_use.pop() {
            self.graph.revoke(&id);
            self.results.remove(&id);
            // what it was made of may have been dropped since
            let parts = self.graph.task(&id).map(|task| task.inputs.clone()).unwrap_or_default();
            of_no_use.extend(parts.into_iter().filter(|part| !self.results.contains_key(part)));
        }
    }

    /// A result that verifies; returns who has delivered segments that do not follow the ones before.
    pub(super) fn verified(&mut self, task: Task, result: R, statement: Statement, worker: usize) -> Vec<usize> {
        if self.is_settled(&task) {
            return vec![];
        }
        if task.kind != TaskKind::Segment {
            self.counts(&task, result, statement);
            return vec![];
        }
        if let Some(before) = self.statements.get(&task.id) {
            // once more, after its result was revoked
            if *before == statement {
                self.counts(&task, result, statement);
                return vec![];
            }
            self.failed(&task, "another segment's proof".into());
            return vec![worker];
        }
        let index = task.index;
        self.waiting.insert(index, (task, result, worker));
        // what waits keeps its statement in the chain, and becomes known when it counts
        let mut refused = vec![];
        for verdict in self.chain.offer(index, statement) {
            let Some((task, result, worker)) = self.waiting.remove(&verdict.segment) else { continue };
            if verdict.accepted {
                self.counts(&task, result, verdict.statement);
            } else {
                refused.push(worker);
                self.failed(&task, "a segment's proof does not follow the one before".into());
            }
        }
        refused
    }

    fn counts(&mut self, task: &Task, result: R, statement: Statement) {
        self.graph.complete(&task.id);
        self.results.insert(task.id.clone(), result);
        self.statements.insert(task.id.clone(), statement);
        // nobody asks for nodes below the root once they are verified
        for child in task.inputs.iter().filter(|_| task.kind > TaskKind::Leaf) {
            self.results.remove(child);
        }
    }

    /// Whether nothing can go on: nothing is under way, and nobody takes a task that can begin.
    pub(super) fn is_stuck(&self, somebody_takes: impl Fn(&Task) -> bool) -> bool {
        self.under_way.is_empty() && !self.graph.is_done() && !self.graph.has_ready(somebody_takes)
    }

    /// What it has made, once everything is there.
    pub(super) fn proved(&self) -> Option<Proved<R>> {
        if !self.graph.is_done() {
            return None;
        }
        let of = |kind| self.graph.tasks().filter(move |task| task.kind == kind);
        let result = |task: &Task| self.results[&task.id].clone();
        let segments = of(TaskKind::Segment).map(result).collect();
        let root = of(TaskKind::Wrap).next().map(result);
        Some(Proved { segments, root, rejected: self.rejected })
    }
}
