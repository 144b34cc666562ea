//! The interpreter's instruction stream.
//!
//! Four words an instruction (one `vec4<u32>` load): `[opcode, target, a, b]`.
//!
//! | opcode | | target | a | b |
//! | --- | --- | --- | --- | --- |
//! | 0 | `r[target] = a + b` | register | operand | operand |
//! | 1 | `r[target] = a - b` | register | operand | operand |
//! | 2 | `r[target] = a * b` | register | operand | operand |
//! | 3 | `r[target] = a * b`, `b` a constant | register | operand | index in the constants |
//! | 4 | `r[target] = -a` | register | operand | 0 |
//! | 5 | `acc[0] += weights[target] * a` | weight | operand | 0 |
//! | 6 | `acc[1] += weights[target] * a` | weight | operand | 0 |
//! | 7 | emit `(a, acc[1])`, clear `acc[1]` | output | operand | 0 |
//!
//! An operand is `kind << 30 | index`: kind 0 a register, 1 a tile column, 2 a constant. The constants of
//! the device are the program's constants followed by the AIR's public values.

use super::{BinaryOp, Instr, Operand, Program, TileLayout};

/// Words of an instruction.
pub const INSTR_WORDS: usize = 4;

const OP_ADD: u32 = 0;
const OP_SUB: u32 = 1;
const OP_MUL: u32 = 2;
const OP_SCALE: u32 = 3;
const OP_NEG: u32 = 4;
const OP_ACCUMULATE: u32 = 5;
const OP_EMIT: u32 = 7;

const KIND_SHIFT: u32 = 30;
const KIND_COLUMN: u32 = 1 << KIND_SHIFT;
const KIND_CONSTANT: u32 = 2 << KIND_SHIFT;

/// A program's instructions in device form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedProgram {
    /// [`INSTR_WORDS`] words an instruction, chunk after chunk.
    pub words: Vec<u32>,
    /// For each chunk its first instruction and their number.
    pub chunks: Vec<[u32; 2]>,
}

impl EncodedProgram {
    /// Encodes `program` with its columns placed by `layout`.
    ///
    /// # Panics
    /// If `layout` lacks a column that the program reads.
    pub fn new(program: &Program, layout: &TileLayout) -> Self {
        let encoder = Encoder::new(program, layout);
        let mut encoded = Self { words: vec![], chunks: vec![] };
        for chunk in &program.chunks {
            let first = encoded.words.len() / INSTR_WORDS;
            encoded.chunks.push([first as u32, chunk.instrs.len() as u32]);
            let words = chunk.instrs.iter().flat_map(|&i| encoder.instr(i));
            encoded.words.extend(words);
        }
        encoded
    }
}

struct Encoder {
    /// Tile column by the program's column index.
    columns: Vec<u32>,
    first_public_value: u32,
}

impl Encoder {
    fn new(program: &Program, layout: &TileLayout) -> Self {
        let place = |&column| layout.index(column).unwrap_or_else(|| panic!("the tile layout lacks {column:?}"));
        Self {
            columns: program.columns.iter().map(place).collect(),
            first_public_value: program.constants.len() as u32,
        }
    }

    fn instr(&self, instr: Instr) -> [u32; INSTR_WORDS] {
        match instr {
            Instr::Binary { op: BinaryOp::Mul, dst, a, b } => match (self.constant(a), self.constant(b)) {
                (_, Some(b)) => [OP_SCALE, dst, self.operand(a), b],
                (Some(a), None) => [OP_SCALE, dst, self.operand(b), a],
                (None, None) => [OP_MUL, dst, self.operand(a), self.operand(b)],
            },
            Instr::Binary { op, dst, a, b } => {
                let opcode = if op == BinaryOp::Add { OP_ADD } else { OP_SUB };
                [opcode, dst, self.operand(a), self.operand(b)]
            }
            Instr::Neg { dst, a } => [OP_NEG, dst, self.operand(a), 0],
            Instr::Accumulate { acc, weight, value } => [OP_ACCUMULATE + acc, weight, self.operand(value), 0],
            Instr::Emit { output, numerator } => [OP_EMIT, output, self.operand(numerator), 0],
        }
    }

    /// Index in the device's constants, if the operand is one.
    fn constant(&self, operand: Operand) -> Option<u32> {
        match operand {
            Operand::Constant(c) => Some(c),
            Operand::PublicValue(i) => Some(self.first_public_value + i),
            Operand::Register(_) | Operand::Column(_) => None,
        }
    }

    fn operand(&self, operand: Operand) -> u32 {
        let index = match operand {
            Operand::Register(r) => return r,
            Operand::Column(c) => return KIND_COLUMN | self.columns[c as usize],
            Operand::Constant(_) | Operand::PublicValue(_) => self.constant(operand),
        };
        KIND_CONSTANT | index.expect("a constant")
    }
}
