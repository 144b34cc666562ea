//! The graph of one proof's tasks: which there are, which can begin, which are done. Pure: no GPU, no server, no thread.
//!
//! Segments are proved one by one, leaves verify a few segments each, internal nodes a few proofs of the level below each, until one is left,
//! which is wrapped. A node is ready as soon as its own children are there, whatever the rest of their level does.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{chain::State, plan::Plan, PlanError, PlannedSegment};

/// What a task makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// The proof of a segment.
    Segment,
    /// A proof that verifies segments' proofs.
    Leaf,
    /// One that verifies leaves.
    InternalForLeaf,
    /// One that verifies those.
    InternalRecursive,
    /// One that verifies proofs of its own key.
    InternalAgain,
    /// The last one, which makes the result smaller.
    Wrap,
}

impl TaskKind {
    /// As in a task's id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Leaf => "leaf",
            Self::InternalForLeaf => "internal-for-leaf",
            Self::InternalRecursive => "internal-recursive",
            Self::InternalAgain => "internal-again",
            Self::Wrap => "wrap",
        }
    }

    /// What verifies proofs of this kind at the next level, before the wrap.
    fn above(self) -> Self {
        match self {
            Self::Segment => Self::Leaf,
            Self::Leaf => Self::InternalForLeaf,
            Self::InternalForLeaf => Self::InternalRecursive,
            Self::InternalRecursive | Self::InternalAgain | Self::Wrap => Self::InternalAgain,
        }
    }
}

/// One proof to make.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// `kind/level/index/hash of inputs`: two tasks with one id make the same proof, though its bytes may differ.
    pub id: String,
    /// The plan's job.
    pub job: String,
    /// What it makes.
    pub kind: TaskKind,
    /// Segments are level 0, leaves 1.
    pub level: u32,
    /// Its number within the level, from 0.
    pub index: usize,
    /// The ids of its children, in order; none for a segment.
    pub inputs: Vec<String>,
    /// What a segment executes; `None` for nodes.
    pub segment: Option<PlannedSegment>,
    /// Device memory that it needs, bytes.
    pub device_bytes: u64,
}

/// What became of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It counts; the ids of tasks that are ready since.
    First(Vec<String>),
    /// There was one before; this one changes nothing.
    Repeated,
    /// No task has this id.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// So many children are missing.
    Waiting(usize),
    Ready,
    Running,
    Done,
}

struct Entry {
    task: Task,
    children: Vec<usize>,
    parent: Option<usize>,
    progress: Progress,
}

/// Tasks nearer to the root come first, then those with lower numbers.
type Order = (Reverse<u32>, usize);

/// The tasks of a plan, and how far they are.
pub struct Graph {
    entries: Vec<Entry>,
    numbers: HashMap<String, usize>,
    /// Tasks that can begin, by the size of their memory, so that a small device need not look through the large ones.
    ready: BTreeMap<u32, BTreeSet<Order>>,
    done: usize,
}

impl Graph {
    /// The graph of `plan`; its segments are ready.
    ///
    /// # Errors
    ///
    /// What is wrong with the plan ([`Plan::check`]).
    pub fn new(plan: &Plan) -> Result<Self, PlanError> {
        plan.check()?;
        let mut graph = Self { entries: vec![], numbers: HashMap::new(), ready: BTreeMap::new(), done: 0 };
        let mut level: Vec<usize> = (0..plan.segments.len()).map(|index| graph.add_segment(plan, index)).collect();
        if plan.aggregated {
            let mut at = (TaskKind::Leaf, 1);
            // each level up to the recursive one has its own key, whatever the number of proofs
            while at.0 <= TaskKind::InternalRecursive || level.len() > 1 {
                let arity = if at.0 == TaskKind::Leaf { plan.leaf_arity } else { plan.internal_arity };
                level = graph.add_level(plan, at, &level, arity);
                at = (at.0.above(), at.1 + 1);
            }
            graph.add_level(plan, (TaskKind::Wrap, at.1), &level, 1);
        }
        Ok(graph)
    }

    fn add_segment(&mut self, plan: &Plan, index: usize) -> usize {
        let segment = plan.segments[index];
        let text = format!("{} {}+{}", plan.job, segment.place.first_instruction, segment.place.instructions);
        let start: &State = &plan.start;
        let hash = hash([text.as_bytes(), format!("{start:?}").as_bytes()]);
        let task = Task {
            id: format!("{}/0/{index}/{hash}", TaskKind::Segment.name()),
            job: plan.job.clone(),
            kind: TaskKind::Segment,
            level: 0,
            index,
            inputs: vec![],
            segment: Some(segment),
            device_bytes: segment.device_bytes,
        };
        self.add(task, vec![])
    }

    fn add_level(&mut self, plan: &Plan, (kind, level): (TaskKind, u32), below: &[usize], arity: usize) -> Vec<usize> {
        let node = |(index, children): (usize, &[usize])| {
            let inputs: Vec<String> = children.iter().map(|child| self.entries[*child].task.id.clone()).collect();
            let id = format!("{}/{level}/{index}/{}", kind.name(), hash(inputs.iter().map(String::as_bytes)));
            let (job, device_bytes) = (plan.job.clone(), plan.node_bytes);
            let task = Task { id, job, kind, level, index, inputs, segment: None, device_bytes };
            self.add(task, children.to_vec())
        };
        below.chunks(arity).enumerate().map(node).collect()
    }

    fn add(&mut self, task: Task, children: Vec<usize>) -> usize {
        let number = self.entries.len();
        children.iter().for_each(|child| self.entries[*child].parent = Some(number));
        self.numbers.insert(task.id.clone(), number);
        let progress = Progress::Waiting(children.len());
        self.entries.push(Entry { task, progress, parent: None, children });
        if self.entries[number].children.is_empty() {
            self.make_ready(number);
        }
        number
    }

    /// All tasks, children before their parents; the last one is the root of an aggregation.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &Task> {
        self.entries.iter().map(|entry| &entry.task)
    }

    /// The task of an id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.numbers.get(id).map(|number| &self.entries[*number].task)
    }

    /// The task that verifies this one's proof.
    pub fn parent(&self, id: &str) -> Option<&Task> {
        let parent = self.entries[*self.numbers.get(id)?].parent?;
        Some(&self.entries[parent].task)
    }

    /// Tasks that can begin, those nearest to the root first.
    pub fn ready(&self) -> Vec<&Task> {
        let mut orders: Vec<&Order> = self.ready.values().flatten().collect();
        orders.sort();
        orders.into_iter().map(|(_, number)| &self.entries[*number].task).collect()
    }

    /// The first task that can begin in `memory` bytes, which runs from now on.
    pub fn take(&mut self, memory: u64) -> Option<Task> {
        self.take_of(memory, |_| true)
    }

    /// The first one of the kinds that are `wanted`.
    pub fn take_of(&mut self, memory: u64, wanted: impl Fn(TaskKind) -> bool) -> Option<Task> {
        let task = |order: &Order| &self.entries[order.1].task;
        let fits = |order: &&Order| task(order).device_bytes <= memory && wanted(task(order).kind);
        let first = |(size, orders): (&u32, &BTreeSet<Order>)| orders.iter().find(fits).map(|order| (*order, *size));
        let sizes = self.ready.range(..=size_of_memory(memory));
        let ((_, number), _) = sizes.filter_map(first).min()?;
        self.leave_ready(number);
        self.entries[number].progress = Progress::Running;
        Some(self.entries[number].task.clone())
    }

    /// Whether a task can begin that is `wanted`.
    pub fn has_ready(&self, wanted: impl Fn(&Task) -> bool) -> bool {
        self.ready.values().flatten().any(|order| wanted(&self.entries[order.1].task))
    }

    /// A task that ran has no result and can begin again; nothing else changes.
    pub fn give_back(&mut self, id: &str) {
        if let Some(number) = self.numbers.get(id).copied() {
            if self.entries[number].progress == Progress::Running {
                self.make_ready(number);
            }
        }
    }

    /// Takes note of a result that counts: verified, and of whoever it is. Results may come in any order and again.
    pub fn complete(&mut self, id: &str) -> Completion {
        let Some(number) = self.numbers.get(id).copied() else { return Completion::Unknown };
        match self.entries[number].progress {
            Progress::Done => return Completion::Repeated,
            Progress::Ready => self.leave_ready(number),
            Progress::Waiting(_) | Progress::Running => (),
        }
        self.entries[number].progress = Progress::Done;
        self.done += 1;
        let Some(parent) = self.entries[number].parent else { return Completion::First(vec![]) };
        match self.entries[parent].progress {
            Progress::Waiting(1) => {
                self.make_ready(parent);
                Completion::First(vec![self.entries[parent].task.id.clone()])
            }
            Progress::Waiting(missing) => {
                self.entries[parent].progress = Progress::Waiting(missing - 1);
                Completion::First(vec![])
            }
            _ => Completion::First(vec![]),
        }
    }

    /// The result of a task is of no use any more, lost or refused by whoever takes it: the task can begin again, and its parent waits for it
    /// unless that is done.
    pub fn revoke(&mut self, id: &str) {
        let Some(number) = self.numbers.get(id).copied() else { return };
        if self.entries[number].progress != Progress::Done {
            return;
        }
        self.done -= 1;
        let missing = |entry: &&usize| self.entries[**entry].progress != Progress::Done;
        match self.entries[number].children.iter().filter(missing).count() {
            0 => self.make_ready(number),
            missing => self.entries[number].progress = Progress::Waiting(missing),
        }
        let Some(parent) = self.entries[number].parent else { return };
        let waits_for = match self.entries[parent].progress {
            Progress::Done => return,
            Progress::Waiting(missing) => missing + 1,
            Progress::Running => 1,
            Progress::Ready => {
                self.leave_ready(parent);
                1
            }
        };
        self.entries[parent].progress = Progress::Waiting(waits_for);
    }

    /// Whether the task's result is there.
    pub fn has(&self, id: &str) -> bool {
        self.numbers.get(id).is_some_and(|number| self.entries[*number].progress == Progress::Done)
    }

    /// How many results are there.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether all are.
    pub fn is_done(&self) -> bool {
        self.done == self.entries.len()
    }

    fn make_ready(&mut self, number: usize) {
        let (size, order) = self.place(number);
        self.entries[number].progress = Progress::Ready;
        self.ready.entry(size).or_default().insert(order);
    }

    fn leave_ready(&mut self, number: usize) {
        let (size, order) = self.place(number);
        let orders = self.ready.get_mut(&size).expect("a task that is ready has a place");
        orders.remove(&order);
        if orders.is_empty() {
            self.ready.remove(&size);
        }
    }

    fn place(&self, number: usize) -> (u32, Order) {
        let task = &self.entries[number].task;
        (size_of_memory(task.device_bytes), (Reverse(task.level), number))
    }
}

/// Amounts of memory in eighths of octaves: more bytes never have a smaller size.
fn size_of_memory(bytes: u64) -> u32 {
    const EIGHTHS: u32 = 3;
    let octave = bytes.max(1).ilog2();
    let eighth = if octave < EIGHTHS { bytes << (EIGHTHS - octave) } else { bytes >> (octave - EIGHTHS) };
    (octave << EIGHTHS) + (eighth as u32 & ((1 << EIGHTHS) - 1))
}

/// 16 bytes of SHA-256 over `parts` with their lengths, in hexadecimal.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
