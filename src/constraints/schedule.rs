//! Ordering a chunk depth-first and allocating its registers.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use super::{
    chunk::{Operation, Unit},
    graph::{Graph, Node, NodeId},
    BinaryOp, Chunk, Instr, Operand,
};

/// Size of the interpreter's register file. It serves every chunk of keccak (which needs 7); chunks that need more are cut down to
/// single units, and what a unit needs beyond it the interpreter keeps in a buffer. (Larger files in private memory do not
/// compile in reasonable time on lavapipe: 512 take more than three minutes.)
pub const REGISTER_FILE: u32 = 32;

/// Turns units into chunks: one, or several where one would need more than [`REGISTER_FILE`] registers although it recomputes sums of
/// leaves wherever they are read (`1 - x` of a boolean constraint would else be kept for all that reads it later).
pub(super) fn schedule(graph: &Graph, units: &[Unit]) -> Vec<Chunk> {
    let mut done = Vec::new();
    let mut pending = vec![units];
    while let Some(units) = pending.pop() {
        let mut chunk = Scheduler::new(graph, units, false).run();
        if chunk.spilled_registers() > 0 {
            chunk = Scheduler::new(graph, units, true).run();
        }
        if chunk.spilled_registers() > 0 && units.len() > 1 {
            let (left, right) = units.split_at(units.len() / 2);
            pending.push(right);
            pending.push(left);
        } else {
            done.push(chunk);
        }
    }
    done
}

struct Scheduler<'a> {
    graph: &'a Graph,
    /// Whether sums of leaves are recomputed for each read.
    recompute: bool,
    steps: Vec<Operation>,
    /// For each node of the chunk, how many operands still read it.
    uses: HashMap<NodeId, u32>,
    /// Where the computed nodes that are still needed live.
    registers: HashMap<NodeId, u32>,
    free: BinaryHeap<Reverse<u32>>,
    chunk: Chunk,
}

impl<'a> Scheduler<'a> {
    fn new(graph: &'a Graph, units: &[Unit], recompute: bool) -> Self {
        Self {
            graph,
            recompute,
            steps: units.concat(),
            uses: HashMap::new(),
            registers: HashMap::new(),
            free: BinaryHeap::new(),
            chunk: Chunk { instrs: vec![], registers: 0, public_values: vec![] },
        }
    }

    fn run(mut self) -> Chunk {
        self.count_uses();
        for step in std::mem::take(&mut self.steps) {
            self.compute(step.value());
            let value = self.read(step.value());
            self.forget(step.value());
            self.chunk.instrs.push(match step {
                Operation::Accumulate { acc, weight, .. } => Instr::Accumulate { acc, weight, value },
                Operation::Emit { output, .. } => Instr::Emit { output, numerator: value },
            });
        }
        debug_assert!(self.registers.is_empty(), "a value outlives its uses");
        let public_value = |operand| match operand {
            Operand::PublicValue(i) => Some(i),
            _ => None,
        };
        let public_values: BTreeSet<u32> =
            self.chunk.instrs.iter().flat_map(|instr| instr.operands()).filter_map(public_value).collect();
        self.chunk.public_values = public_values.into_iter().collect();
        self.chunk
    }

    /// Counts the reads of each node that the steps reach.
    fn count_uses(&mut self) {
        let mut stack: Vec<NodeId> = self.steps.iter().map(|step| step.value()).collect();
        while let Some(id) = stack.pop() {
            let node = self.graph.nodes[id as usize];
            if node.is_leaf() {
                continue;
            }
            let uses = self.uses.entry(id).or_insert(0);
            *uses += 1;
            if *uses == 1 {
                stack.extend(node.children());
            }
        }
    }

    /// Emits what `root` needs and does not have yet, in post-order; the operand that needs more registers
    /// goes first. An explicit stack, since chains may be as deep as the DAG is long.
    fn compute(&mut self, root: NodeId) {
        let mut stack = vec![(root, false)];
        while let Some((id, operands_ready)) = stack.pop() {
            let node = self.graph.nodes[id as usize];
            if node.is_leaf() || self.registers.contains_key(&id) {
                continue;
            }
            if operands_ready {
                self.emit(id, node);
                continue;
            }
            stack.push((id, true));
            let mut children: Vec<NodeId> = node.children().collect();
            children.sort_by_key(|&child| self.graph.need[child as usize]);
            stack.extend(children.into_iter().map(|child| (child, false)));
        }
    }

    fn emit(&mut self, id: NodeId, node: Node) {
        for child in node.children() {
            // a sum that another operand's computation has read since
            if self.recomputed(child) && !self.registers.contains_key(&child) {
                self.emit(child, self.graph.nodes[child as usize]);
            }
        }
        let instr = match node {
            Node::Leaf(_) => unreachable!("leaves are read in place"),
            Node::Neg(a) => {
                let operand = self.read(a);
                self.forget(a);
                Instr::Neg { dst: self.allocate(id), a: operand }
            }
            Node::Binary(op, a, b) => {
                let operands = (self.read(a), self.read(b));
                self.forget(a);
                self.forget(b);
                Instr::Binary { op, dst: self.allocate(id), a: operands.0, b: operands.1 }
            }
        };
        self.chunk.instrs.push(instr);
    }

    /// The operand for one read of `id`; its last read frees its register.
    fn read(&mut self, id: NodeId) -> Operand {
        if let Node::Leaf(operand) = self.graph.nodes[id as usize] {
            return operand;
        }
        let register = self.registers[&id];
        if self.recomputed(id) {
            return Operand::Register(register);
        }
        let uses = self.uses.get_mut(&id).expect("counted");
        *uses -= 1;
        if *uses == 0 {
            self.registers.remove(&id);
            self.free.push(Reverse(register));
        }
        Operand::Register(register)
    }

    /// Whether the node is computed anew for each read.
    fn recomputed(&self, id: NodeId) -> bool {
        let leaf = |id: NodeId| self.graph.nodes[id as usize].is_leaf();
        let node = self.graph.nodes[id as usize];
        let sum = matches!(node, Node::Neg(_) | Node::Binary(BinaryOp::Add | BinaryOp::Sub, ..));
        self.recompute && sum && node.children().all(leaf)
    }

    /// Frees the register of a node that is computed anew when it is read next.
    fn forget(&mut self, id: NodeId) {
        if self.recomputed(id) {
            self.free.extend(self.registers.remove(&id).map(Reverse));
        }
    }

    /// The lowest free register, or a new one.
    fn allocate(&mut self, id: NodeId) -> u32 {
        let register = match self.free.pop() {
            Some(Reverse(register)) => register,
            None => {
                self.chunk.registers += 1;
                self.chunk.registers - 1
            }
        };
        self.registers.insert(id, register);
        register
    }
}
