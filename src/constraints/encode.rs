//! The interpreter's code.
//!
//! Records of four words (one `vec4<u32>` load each), of three kinds. What is rare lies outside of the loop over what is
//! frequent, since software drivers execute every branch of a loop's body:
//!
//! - *instruction* `[opcode, dst, a, b]`: opcode 0 add, 1 sub, 2 mul, 3 mul by constant `b` (an index), 4 negate `a`;
//! - *term* `[end, acc, weight, operand]`: run the instructions up to `end`, then `acc[acc] += weights[weight] * operand`;
//! - *output* `[end_term, end, output, operand]`: run the terms up to `end_term`, then the instructions up to `end`, then store
//!   the fraction `operand / acc[1]` as `output` and clear `acc[1]`.
//!
//! A chunk `[instrs, terms, outputs, end]` names where its records of each kind begin, all in one table, and where its outputs
//! (of an emitting program) or else its terms end.
//!
//! An operand is `kind << 30 | index`: kind 0 a register, 1 a tile column, 2 a constant. The constants of the device are the
//! program's constants followed by the AIR's public values.

use super::{BinaryOp, Chunk, Instr, Operand, Program, TileLayout};

/// Words of a record.
pub const RECORD_WORDS: usize = 4;

type Record = [u32; RECORD_WORDS];

const OP_ADD: u32 = 0;
const OP_SUB: u32 = 1;
const OP_MUL: u32 = 2;
const OP_SCALE: u32 = 3;
const OP_NEG: u32 = 4;

const KIND_SHIFT: u32 = 30;
const KIND_COLUMN: u32 = 1 << KIND_SHIFT;
const KIND_CONSTANT: u32 = 2 << KIND_SHIFT;

/// A program in device form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedProgram {
    /// Records of all chunks: for each its instructions, then its terms, then its outputs.
    pub records: Vec<[u32; RECORD_WORDS]>,
    /// For each chunk `[instrs, terms, outputs, end]`, as indices of records.
    pub chunks: Vec<[u32; RECORD_WORDS]>,
}

impl EncodedProgram {
    /// Encodes `program` with its columns placed by `layout`.
    ///
    /// # Panics
    /// If `layout` lacks a column that the program reads.
    pub fn new(program: &Program, layout: &TileLayout) -> Self {
        let encoder = Encoder::new(program, layout);
        let mut encoded = Self { records: vec![], chunks: vec![] };
        for chunk in &program.chunks {
            encoder.chunk(chunk, &mut encoded);
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

    fn chunk(&self, chunk: &Chunk, encoded: &mut EncodedProgram) {
        let instrs = encoded.records.len() as u32;
        let terms = instrs + chunk.num_operations() as u32;
        let accumulations = chunk.instrs.iter().filter(|i| matches!(i, Instr::Accumulate { .. })).count();
        let outputs = terms + accumulations as u32;
        let (mut term_records, mut output_records) = (vec![], vec![]);
        for &instr in &chunk.instrs {
            let end = encoded.records.len() as u32;
            match instr {
                Instr::Accumulate { acc, weight, value } => term_records.push([end, acc, weight, self.operand(value)]),
                Instr::Emit { output, numerator } => {
                    let end_term = terms + term_records.len() as u32;
                    output_records.push([end_term, end, output, self.operand(numerator)]);
                }
                Instr::Binary { .. } | Instr::Neg { .. } => encoded.records.push(self.arithmetic(instr)),
            }
        }
        encoded.records.extend(term_records);
        encoded.records.extend(&output_records);
        let end = encoded.records.len() as u32;
        encoded.chunks.push([instrs, terms, outputs, end]);
    }

    fn arithmetic(&self, instr: Instr) -> Record {
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
            // the second operand is read, whatever the opcode
            Instr::Neg { dst, a } => [OP_NEG, dst, self.operand(a), self.operand(a)],
            Instr::Accumulate { .. } | Instr::Emit { .. } => unreachable!("not arithmetic"),
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
