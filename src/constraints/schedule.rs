//! Ordering a chunk depth-first and allocating its registers.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use super::{
    chunk::{Step, Unit},
    graph::{Graph, Node, NodeId},
    Chunk, Instr, Operand,
};

/// Size of the interpreter's register file. It serves every chunk of keccak (which needs 7); chunks that need more are cut down to
/// single units, and what a unit needs beyond it the interpreter keeps in a buffer. (Larger files in private memory do not
/// compile in reasonable time on lavapipe: 512 take more than three minutes.)
pub const REGISTER_FILE: u32 = 32;

/// Turns units into chunks: one, or several where one would need more than [`REGISTER_FILE`] registers.
pub(super) fn schedule(graph: &Graph, units: &[Unit]) -> Vec<Chunk> {
    let mut done = Vec::new();
    let mut pending = vec![units];
    while let Some(units) = pending.pop() {
        let chunk = Scheduler::new(graph, units).run();
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
    steps: Vec<Step>,
    /// For each node of the chunk, how many operands still read it.
    uses: HashMap<NodeId, u32>,
    /// Where the computed nodes that are still needed live.
    registers: HashMap<NodeId, u32>,
    free: BinaryHeap<Reverse<u32>>,
    chunk: Chunk,
}

impl<'a> Scheduler<'a> {
    fn new(graph: &'a Graph, units: &[Unit]) -> Self {
        Self {
            graph,
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
            self.chunk.instrs.push(match step {
                Step::Accumulate { acc, weight, .. } => Instr::Accumulate { acc, weight, value },
                Step::Emit { output, .. } => Instr::Emit { output, numerator: value },
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
        let instr = match node {
            Node::Leaf(_) => unreachable!("leaves are read in place"),
            Node::Neg(a) => {
                let a = self.read(a);
                let dst = self.allocate(id);
                Instr::Neg { dst, a }
            }
            Node::Binary(op, a, b) => {
                let (a, b) = (self.read(a), self.read(b));
                let dst = self.allocate(id);
                Instr::Binary { op, dst, a, b }
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
        let uses = self.uses.get_mut(&id).expect("counted");
        *uses -= 1;
        if *uses == 0 {
            self.registers.remove(&id);
            self.free.push(Reverse(register));
        }
        Operand::Register(register)
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
