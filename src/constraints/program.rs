//! The intermediate representation: programs, chunks, instructions, and the weights they name.

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{
    chunk::{cut, distinct_operations, Unit},
    graph::Graph,
    schedule::{schedule, REGISTER_FILE},
    tile::TileColumn,
};

/// Where an instruction finds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// Register of the chunk.
    Register(u32),
    /// Index into [`Program::columns`].
    Column(u32),
    /// Index into [`Program::constants`].
    Constant(u32),
    /// Public value of the AIR, by its index.
    PublicValue(u32),
}

impl Operand {
    /// Whether the value is in F even where columns are in EF, and the same on all rows.
    pub fn is_base(self) -> bool {
        matches!(self, Self::Constant(_) | Self::PublicValue(_))
    }
}

/// Arithmetic on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
}

/// One instruction. Registers and operands hold values of the tile's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instr {
    /// `dst = a op b`; `dst` may be a register that `a` or `b` reads.
    Binary {
        /// The operation.
        op: BinaryOp,
        /// Register written.
        dst: u32,
        /// Left operand.
        a: Operand,
        /// Right operand.
        b: Operand,
    },
    /// `dst = -a`
    Neg {
        /// Register written.
        dst: u32,
        /// Operand.
        a: Operand,
    },
    /// `acc[acc] += weights[weight] * value`
    Accumulate {
        /// Accumulator (in EF), 0 or 1.
        acc: u32,
        /// Index of the weight (in EF).
        weight: u32,
        /// Value of the tile's field.
        value: Operand,
    },
    /// Store the fraction `numerator / acc[1]` as `output`, then clear `acc[1]`.
    Emit {
        /// Index of the output (the interaction).
        output: u32,
        /// Value of the tile's field.
        numerator: Operand,
    },
}

impl Instr {
    /// The operands, in order.
    pub fn operands(self) -> impl Iterator<Item = Operand> {
        let (a, b) = match self {
            Self::Binary { a, b, .. } => (a, Some(b)),
            Self::Neg { a, .. } => (a, None),
            Self::Accumulate { value, .. } => (value, None),
            Self::Emit { numerator, .. } => (numerator, None),
        };
        std::iter::once(a).chain(b)
    }
}

/// Instructions that run by themselves: registers and accumulators start empty, and the accumulators at
/// the end are this chunk's partial sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Instructions, in order.
    pub instrs: Vec<Instr>,
    /// Registers used: every register is below this.
    pub registers: u32,
    /// Public values read, sorted. The interpreter keeps them in the registers from `registers` on.
    pub public_values: Vec<u32>,
}

impl Chunk {
    /// Registers that the interpreter needs, those for public values included.
    pub fn interpreter_registers(&self) -> u32 {
        self.registers + self.public_values.len() as u32
    }

    /// Registers beyond the interpreter's file.
    pub fn spilled_registers(&self) -> u32 {
        self.interpreter_registers().saturating_sub(REGISTER_FILE)
    }

    /// Number of arithmetic instructions.
    pub fn num_operations(&self) -> usize {
        let arithmetic = |i: &&Instr| matches!(i, Instr::Binary { .. } | Instr::Neg { .. });
        self.instrs.iter().filter(arithmetic).count()
    }
}

/// What a program writes and weighs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) accumulators: u32,
    pub(super) weights: usize,
    pub(super) outputs: usize,
    pub(super) max_chunk_cost: usize,
}

/// A compiled sum (or list) of terms. The sum of its chunks' accumulators is the result.
#[derive(Clone, Debug)]
pub struct Program {
    /// Chunks, in the order of the terms.
    pub chunks: Vec<Chunk>,
    /// The columns read, sorted; what [`Operand::Column`] indexes.
    pub columns: Vec<TileColumn>,
    /// What [`Operand::Constant`] indexes. The same table for all programs of an AIR.
    pub constants: Vec<F>,
    /// Number of public values; on the device they follow the constants in one table.
    pub num_public_values: usize,
    /// Number of accumulators that carry a result: 1 (zerocheck) or 2 (logup).
    pub num_accumulators: u32,
    /// Length of the weight table.
    pub num_weights: usize,
    /// Number of outputs of an emitting program, else 0.
    pub num_outputs: usize,
}

impl Program {
    pub(super) fn assemble(graph: &Graph, units: &[Unit], shape: Shape) -> Self {
        // what is emitted stays in order, so that a piece of the layer is written by few chunks
        let mut chunks: Vec<Chunk> = cut(graph, units, shape.max_chunk_cost, shape.outputs == 0)
            .into_iter()
            .flat_map(|chunk| schedule(graph, &chunk.into_iter().map(|unit| units[unit].clone()).collect::<Vec<_>>()))
            .collect();
        let columns = compact_columns(graph, &mut chunks);
        Self {
            chunks,
            columns,
            constants: graph.constants.clone(),
            num_public_values: graph.num_public_values,
            num_accumulators: shape.accumulators,
            num_weights: shape.weights,
            num_outputs: shape.outputs,
        }
    }

    /// As [`Self::assemble`], in chunks that are larger where the operations would be repeated more than `most` times.
    pub(super) fn assemble_bounded(graph: &Graph, units: &[Unit], shape: Shape, most: f64) -> Self {
        let distinct = distinct_operations(graph, units);
        let all = distinct + units.iter().map(Unit::len).sum::<usize>();
        let mut shape = shape;
        loop {
            let program = Self::assemble(graph, units, shape);
            if program.num_operations() as f64 <= most * distinct as f64 || shape.max_chunk_cost >= all {
                return program;
            }
            shape.max_chunk_cost *= 2;
        }
    }

    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Length of the device table of constants: the constants, then the public values.
    pub fn constants_len(&self) -> usize {
        self.constants.len() + self.num_public_values
    }

    /// Arithmetic instructions per row, over all chunks.
    pub fn num_operations(&self) -> usize {
        self.chunks.iter().map(Chunk::num_operations).sum()
    }
}

/// Replaces graph columns by indices into the sorted list of those that `chunks` read.
fn compact_columns(graph: &Graph, chunks: &mut [Chunk]) -> Vec<TileColumn> {
    let operands = |chunk: &Chunk| -> Vec<Operand> { chunk.instrs.iter().flat_map(|i| i.operands()).collect() };
    let mut columns: Vec<TileColumn> = chunks
        .iter()
        .flat_map(operands)
        .filter_map(|operand| match operand {
            Operand::Column(c) => Some(graph.columns[c as usize]),
            _ => None,
        })
        .collect();
    columns.sort_unstable();
    columns.dedup();
    let place = |operand: &mut Operand| {
        if let Operand::Column(c) = operand {
            let column = graph.columns[*c as usize];
            *c = columns.binary_search(&column).expect("collected above") as u32;
        }
    };
    for instr in chunks.iter_mut().flat_map(|chunk| &mut chunk.instrs) {
        match instr {
            Instr::Binary { a, b, .. } => {
                place(a);
                place(b);
            }
            Instr::Neg { a, .. } => place(a),
            Instr::Accumulate { value, .. } => place(value),
            Instr::Emit { numerator, .. } => place(numerator),
        }
    }
    columns
}

/// Flat layout of the logup weights: interaction by interaction `[count, bus, message_0, message_1, ..]`.
///
/// Every weight is `s_i * beta^e` with the exponent `e` = 0 for the count, `len_i` for the bus and `j` for
/// message `j`, where `s_i = eq_3b[i]` in the summed form and 1 in the emitted form (which does not use the
/// count's weight). [`Self::entries`] is the table of `(i, e)` from which a kernel fills the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogupWeights {
    /// `starts[i]` is where interaction `i` begins; one more at the end.
    starts: Vec<u32>,
}

impl LogupWeights {
    pub(super) fn new(message_lens: impl Iterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for len in message_lens {
            end += len as u32 + 2;
            starts.push(end);
        }
        Self { starts }
    }

    /// The layouts of several AIRs, one behind the other, with interactions counted through.
    pub fn joined<'a>(airs: impl Iterator<Item = &'a Self>) -> Self {
        Self::new(airs.flat_map(|air| (0..air.num_interactions()).map(|i| air.message_len(i))))
    }

    /// Number of interactions.
    pub fn num_interactions(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.starts[self.num_interactions()] as usize
    }

    /// Whether there is no interaction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Message length of interaction `i`.
    pub fn message_len(&self, i: usize) -> usize {
        (self.starts[i + 1] - self.starts[i] - 2) as usize
    }

    /// Longest message, or 0: powers of beta up to this one are needed.
    pub fn max_message_len(&self) -> usize {
        let lens = (0..self.num_interactions()).map(|i| self.message_len(i));
        lens.max().unwrap_or(0)
    }

    /// Weight index of the count of interaction `i`.
    pub fn count(&self, i: usize) -> u32 {
        self.starts[i]
    }

    /// Weight index of the bus of interaction `i`.
    pub fn bus(&self, i: usize) -> u32 {
        self.starts[i] + 1
    }

    /// Weight index of message field `j` of interaction `i`.
    pub fn message(&self, i: usize, j: usize) -> u32 {
        debug_assert!(j < self.message_len(i));
        self.starts[i] + 2 + j as u32
    }

    /// For each weight the interaction `i` and the exponent of beta.
    pub fn entries(&self) -> Vec<[u32; 2]> {
        let of_interaction = |i: usize| {
            let len = self.message_len(i) as u32;
            [0, len].into_iter().chain(0..len).map(move |e| [i as u32, e])
        };
        (0..self.num_interactions()).flat_map(of_interaction).collect()
    }
}
