//! Cutting a program's terms into chunks.

use super::{
    graph::{Graph, Node, NodeId},
    Operand,
};

/// Cost (arithmetic instructions and accumulations) that a chunk aims not to exceed.
///
/// Smaller chunks read more columns more than once (keccak's 2,859: 6,700 at 1,000, 13,000 at 250). A unit that costs more by itself is
/// a chunk of its own.
pub const MAX_CHUNK_COST: usize = 1_000;

/// The same for the MLE rounds, whose few rows need many chunks to fill a device, and for generated kernels: a chunk's code should fit a
/// multiprocessor's instruction cache. (An H200 evaluates round 0 of keccak 10 in 1.4, 1.5, 2.4 ms with chunks of 250, 500, 1,000.)
pub const SMALL_CHUNK_COST: usize = 250;

/// The same where rows are so few that a dispatch takes as long as its longest chunk.
pub const SHORT_CHUNK_COST: usize = 64;

/// How often operations may be repeated, on average, in chunks of about [`SMALL_CHUNK_COST`] and [`SHORT_CHUNK_COST`]; chunks of programs that
/// would exceed it are larger. (Poseidon2's chunks of 250 have ten times the operations of its chunks of 1,000.)
pub const MAX_REPETITION: f64 = 1.5;
pub(super) const MAX_SHORT_REPETITION: f64 = 4.0;

/// One step of a program, before scheduling.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Accumulate { acc: u32, weight: u32, value: NodeId },
    Emit { output: u32, numerator: NodeId },
}

impl Operation {
    pub(super) fn value(self) -> NodeId {
        match self {
            Self::Accumulate { value, .. } => value,
            Self::Emit { numerator, .. } => numerator,
        }
    }
}

/// Steps that must stay in one chunk.
pub(super) type Unit = Vec<Operation>;

/// Packs units greedily into chunks of at most `max_cost`: next comes the unit that reads, for its size, most of what the chunk reads
/// already, and where none does, the first that is left. (For keccak's chunks of 1,000 this halves the columns that are read; without
/// `by_locality` units keep their order.)
pub(super) fn cut(graph: &Graph, units: &[Unit], max_cost: usize, by_locality: bool) -> Vec<Vec<usize>> {
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut queue = UnitQueue::new(graph, units, by_locality);
    let mut reach = Reach::new(graph);
    let mut cost = 0;
    while let Some(unit) = queue.next() {
        let added = reach.add(&units[unit]);
        match chunks.last_mut() {
            Some(chunk) if cost + added <= max_cost => {
                chunk.push(unit);
                cost += added;
            }
            _ => {
                chunks.push(vec![unit]);
                reach.clear();
                queue.clear();
                cost = reach.add(&units[unit]);
            }
        }
        queue.read(unit);
    }
    chunks
}

/// Operations that `units` need, each once.
pub(super) fn distinct_operations(graph: &Graph, units: &[Unit]) -> usize {
    let mut reach = Reach::new(graph);
    units.iter().map(|unit| reach.add(unit) - unit.len()).sum()
}

/// The units that are in no chunk yet.
struct UnitQueue {
    /// Columns that each unit reads; none if the order is kept.
    columns: Vec<Vec<u32>>,
    /// Units that read each column.
    readers: Vec<Vec<usize>>,
    left: Vec<bool>,
    first_left: usize,
    /// Columns that the current chunk reads.
    read: Vec<bool>,
    /// How many columns of each unit the current chunk reads.
    shared: Vec<usize>,
    /// Units that share a column with the current chunk.
    near: Vec<usize>,
}

impl UnitQueue {
    fn new(graph: &Graph, units: &[Unit], by_locality: bool) -> Self {
        let mut reach = Reach::new(graph);
        let columns: Vec<_> = match by_locality {
            true => units.iter().map(|unit| reach.columns(unit)).collect(),
            false => vec![vec![]; units.len()],
        };
        let mut readers = vec![vec![]; graph.columns.len()];
        for (unit, columns) in columns.iter().enumerate() {
            columns.iter().for_each(|&c| readers[c as usize].push(unit));
        }
        Self {
            readers,
            left: vec![true; units.len()],
            first_left: 0,
            read: vec![false; graph.columns.len()],
            shared: vec![0; units.len()],
            near: vec![],
            columns,
        }
    }

    fn next(&mut self) -> Option<usize> {
        let left = &self.left;
        self.near.retain(|&unit| left[unit]);
        while self.left.get(self.first_left) == Some(&false) {
            self.first_left += 1;
        }
        // a / b > c / d as a d > c b; the first of equals
        let share = |unit: usize| (self.shared[unit], self.columns[unit].len());
        let better = |best: usize, unit: usize| {
            let ((a, b), (c, d)) = (share(unit), share(best));
            if (a * d, best) > (c * b, unit) {
                unit
            } else {
                best
            }
        };
        let first = (self.first_left < self.left.len()).then_some(self.first_left);
        let unit = self.near.iter().copied().reduce(better).or(first)?;
        self.left[unit] = false;
        Some(unit)
    }

    /// The current chunk got `unit`.
    fn read(&mut self, unit: usize) {
        for &column in &self.columns[unit] {
            if std::mem::replace(&mut self.read[column as usize], true) {
                continue;
            }
            for &reader in &self.readers[column as usize] {
                if self.shared[reader] == 0 && self.left[reader] {
                    self.near.push(reader);
                }
                self.shared[reader] += 1;
            }
        }
    }

    /// A new chunk begins.
    fn clear(&mut self) {
        self.near.clear();
        self.shared.fill(0);
        self.read.fill(false);
    }
}

/// The nodes that the current chunk computes.
struct Reach<'a> {
    graph: &'a Graph,
    /// `stamps[node] == stamp` if the current chunk computes the node.
    stamps: Vec<u32>,
    stamp: u32,
    stack: Vec<NodeId>,
}

impl<'a> Reach<'a> {
    fn new(graph: &'a Graph) -> Self {
        Self { graph, stamps: vec![0; graph.nodes.len()], stamp: 1, stack: vec![] }
    }

    fn clear(&mut self) {
        self.stamp += 1;
    }

    /// Adds what `unit` needs; returns the cost that this adds.
    fn add(&mut self, unit: &Unit) -> usize {
        let mut cost = unit.len();
        self.stack.extend(unit.iter().map(|step| step.value()));
        while let Some(id) = self.stack.pop() {
            let node = self.graph.nodes[id as usize];
            if node.is_leaf() || self.stamps[id as usize] == self.stamp {
                continue;
            }
            self.stamps[id as usize] = self.stamp;
            cost += 1;
            self.stack.extend(node.children());
        }
        cost
    }

    /// The columns that `unit` reads, each once.
    fn columns(&mut self, unit: &Unit) -> Vec<u32> {
        self.clear();
        let mut columns = vec![];
        self.stack.extend(unit.iter().map(|step| step.value()));
        while let Some(id) = self.stack.pop() {
            if std::mem::replace(&mut self.stamps[id as usize], self.stamp) == self.stamp {
                continue;
            }
            match self.graph.nodes[id as usize] {
                Node::Leaf(Operand::Column(c)) => columns.push(c),
                node => self.stack.extend(node.children()),
            }
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}
