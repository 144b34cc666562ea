//! The interpreter's code.
//!
//! Records of four words (one `vec4<u32>` load each), of four kinds. What is rare lies outside of the loop over what is
//! frequent, since software drivers execute every branch of a loop's body:
//!
//! - *instruction* `[opcode | dst << 3, a, b, immediate]`: opcode 0 add, 1 sub, 2 mul, 3 negate `a`, 4 (only over EF) `a` times
//!   the immediate;
//! - *term* `[end, acc | weight << 1, operand, immediate]`: run the instructions up to `end`, then
//!   `acc[acc] += weights[weight] * operand`;
//! - *output* two records, `[end_term, end, output, 0]` and `[operand, immediate, 0, 0]`:
//!   run the terms up to `end_term`, then the instructions up to `end`, then store the fraction `operand / acc[1]` as `output` and
//!   clear `acc[1]`;
//! - *preload* `[register, constant, 0, 0]`: a public value to put into a register first.
//!
//! The table of a program begins with two records for each chunk, `[preloads, instrs, terms, outputs]` and `[end, 0, 0, 0]`: where in the
//! table its records of each kind begin, one kind behind the other, and where the last end.
//!
//! An operand is `kind << 30 | index`: kind 0 a register, 1 a tile column, 2 the record's immediate, a word of F in Montgomery
//! form. (So constants cost no load, and an instruction has at most one: lowering folds the others.)

use super::{wgsl::montgomery_word, BinaryOp, Chunk, Instr, Operand, Program, TileLayout};

/// Words of a record.
pub const RECORD_WORDS: usize = 4;

type Record = [u32; RECORD_WORDS];

const OP_ADD: u32 = 0;
const OP_SUB: u32 = 1;
const OP_MUL: u32 = 2;
const OP_NEG: u32 = 3;
const OP_SCALE: u32 = 4;

const DST_SHIFT: u32 = 3;

const KIND_SHIFT: u32 = 30;
const KIND_COLUMN: u32 = 1 << KIND_SHIFT;
const IMMEDIATE: u32 = 2 << KIND_SHIFT;

/// A program in device form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedProgram {
    /// Two records for each chunk, then the records of all chunks: for each its preloads, instructions, terms, outputs.
    pub records: Vec<[u32; RECORD_WORDS]>,
}

impl EncodedProgram {
    /// Encodes `program` with its columns placed by `layout`, for a tile over EF if `extension`.
    ///
    /// # Panics
    /// If `layout` lacks a column that the program reads.
    pub fn new(program: &Program, layout: &TileLayout, extension: bool) -> Self {
        let mut encoded = Self { records: vec![[0; RECORD_WORDS]; 2 * program.chunks.len()] };
        let place = |&column| layout.index(column).unwrap_or_else(|| panic!("the tile layout lacks {column:?}"));
        let columns: Vec<u32> = program.columns.iter().map(place).collect();
        for (c, chunk) in program.chunks.iter().enumerate() {
            let head = ChunkEncoder { program, columns: &columns, extension, chunk }.encode(&mut encoded.records);
            encoded.records[2 * c..2 * c + 2].copy_from_slice(&head);
        }
        encoded
    }
}

struct ChunkEncoder<'a> {
    program: &'a Program,
    /// Tile column by the program's column index.
    columns: &'a [u32],
    extension: bool,
    chunk: &'a Chunk,
}

impl ChunkEncoder<'_> {
    /// Appends the chunk's records; returns the two that tell where they are.
    fn encode(&self, records: &mut Vec<Record>) -> [Record; 2] {
        let [preloads, instrs, terms, outputs] = self.starts(records.len());
        let public_values = (self.chunk.registers..).zip(&self.chunk.public_values);
        let constant = |i: u32| self.program.constants.len() as u32 + i;
        records.extend(public_values.map(|(register, &i)| [register, constant(i), 0, 0]));

        let (mut term_records, mut output_records) = (vec![], vec![]);
        for &instr in &self.chunk.instrs {
            let end = records.len() as u32;
            match instr {
                Instr::Accumulate { acc, weight, value } => {
                    let [operand, immediate] = self.operand(value);
                    term_records.push([end, acc | weight << 1, operand, immediate]);
                }
                Instr::Emit { output, numerator } => {
                    let [operand, immediate] = self.operand(numerator);
                    output_records.push([terms + term_records.len() as u32, end, output, 0]);
                    output_records.push([operand, immediate, 0, 0]);
                }
                Instr::Binary { op, dst, a, b } => records.push(self.binary(op, dst, a, b)),
                Instr::Neg { dst, a } => {
                    // an operand that equals the first is not read again
                    let [a, immediate] = self.operand(a);
                    records.push([OP_NEG | dst << DST_SHIFT, a, a, immediate]);
                }
            }
        }
        records.extend(term_records);
        records.extend(output_records);
        [[preloads, instrs, terms, outputs], [records.len() as u32, 0, 0, 0]]
    }

    /// Where the preloads, instructions, terms and outputs begin.
    fn starts(&self, first: usize) -> [u32; 4] {
        let accumulations = self.chunk.instrs.iter().filter(|i| matches!(i, Instr::Accumulate { .. })).count();
        let instrs = first + self.chunk.public_values.len();
        let terms = instrs + self.chunk.num_operations();
        [first, instrs, terms, terms + accumulations].map(|start| start as u32)
    }

    fn binary(&self, op: BinaryOp, dst: u32, a: Operand, b: Operand) -> Record {
        let ([a, immediate_a], [b, immediate_b]) = (self.operand(a), self.operand(b));
        // at most one is an immediate, the other's word is 0
        let immediate = immediate_a | immediate_b;
        let dst = dst << DST_SHIFT;
        match op {
            BinaryOp::Add => [OP_ADD | dst, a, b, immediate],
            BinaryOp::Sub => [OP_SUB | dst, a, b, immediate],
            BinaryOp::Mul if self.extension && b == IMMEDIATE => [OP_SCALE | dst, a, a, immediate],
            BinaryOp::Mul if self.extension && a == IMMEDIATE => [OP_SCALE | dst, b, b, immediate],
            BinaryOp::Mul => [OP_MUL | dst, a, b, immediate],
        }
    }

    /// The operand's code and immediate (0 if it is none).
    fn operand(&self, operand: Operand) -> [u32; 2] {
        match operand {
            Operand::Register(r) => [r, 0],
            Operand::Column(c) => [KIND_COLUMN | self.columns[c as usize], 0],
            Operand::Constant(c) => [IMMEDIATE, montgomery_word(self.program.constants[c as usize])],
            Operand::PublicValue(i) => {
                let at = self.chunk.public_values.binary_search(&i).expect("listed by the chunk");
                [self.chunk.registers + at as u32, 0]
            }
        }
    }
}
