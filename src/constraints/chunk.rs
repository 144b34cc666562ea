//! Cutting a program's terms into chunks.

use std::ops::Range;

use super::graph::{Graph, NodeId};

/// Cost (arithmetic instructions and accumulations) that a chunk aims not to exceed.
///
/// Compile time of a generated kernel grows faster than linearly beyond 1,000 to 2,000 statements (NVIDIA:
/// 1,000 take 1.1 s, 5,000 take 23 s), while smaller chunks recompute more of what they share (keccak: 9%
/// at 1,000). A unit that costs more by itself is a chunk of its own.
pub const MAX_CHUNK_COST: usize = 1_000;

/// The same for the MLE rounds: an operation in EF is ten times the code of one in F, and their few rows need
/// many chunks to fill a device.
pub const MLE_CHUNK_COST: usize = 250;

/// One step of a program, before scheduling.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Accumulate { acc: u32, weight: u32, value: NodeId },
    Emit { output: u32, numerator: NodeId },
}

impl Step {
    pub(super) fn value(self) -> NodeId {
        match self {
            Self::Accumulate { value, .. } => value,
            Self::Emit { numerator, .. } => numerator,
        }
    }
}

/// Steps that must stay in one chunk.
pub(super) type Unit = Vec<Step>;

/// Packs units greedily, in their order, so that each range costs at most `max_cost`.
pub(super) fn cut(graph: &Graph, units: &[Unit], max_cost: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut reach = Reach::new(graph);
    let (mut start, mut cost) = (0, 0);
    for (i, unit) in units.iter().enumerate() {
        let added = reach.add(unit);
        if start < i && cost + added > max_cost {
            chunks.push(start..i);
            reach.clear();
            (start, cost) = (i, reach.add(unit));
        } else {
            cost += added;
        }
    }
    if start < units.len() {
        chunks.push(start..units.len());
    }
    chunks
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
}
