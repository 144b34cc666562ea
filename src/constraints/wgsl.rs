//! The straight-line body of a generated kernel.
//!
//! The text calls functions that the kernel's frame (`wgsl/constraints/generated_*.wgsl`) defines for the
//! field of its tile:
//!
//! | call | meaning |
//! | --- | --- |
//! | `column(c)` | value of tile column `c` |
//! | `lift(w)` | the Montgomery word `w` as a value of the tile's field |
//! | `constant(i)` | entry `i` of the constants (only public values are read there) |
//! | `v_add(a, b)`, `v_sub(a, b)`, `v_mul(a, b)`, `v_neg(a)` | arithmetic |
//! | `v_scale(a, w)` | `a` times the Montgomery word `w` |
//! | `accumulate0(k, a)`, `accumulate1(k, a)` | `acc += weights[k] * a` |
//! | `emit(i, a)` | store `(a, acc[1])` as output `i`, clear `acc[1]` |

use std::fmt::Write;

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeField32;

use super::{BinaryOp, Chunk, Instr, Operand, Program, TileLayout};

/// The statements of `chunk`, one a line, with columns placed by `layout`.
///
/// # Panics
/// If `layout` lacks a column that the chunk reads.
pub fn chunk_body(program: &Program, chunk: &Chunk, layout: &TileLayout) -> String {
    let mut writer = Writer {
        program,
        layout,
        names: vec![0; chunk.registers as usize],
        next: 0,
        text: String::with_capacity(48 * chunk.instrs.len()),
    };
    for &instr in &chunk.instrs {
        writer.instr(instr);
    }
    writer.text
}

struct Writer<'a> {
    program: &'a Program,
    layout: &'a TileLayout,
    /// The variable that each register holds: each write makes a new one.
    names: Vec<u32>,
    next: u32,
    text: String,
}

impl Writer<'_> {
    fn instr(&mut self, instr: Instr) {
        match instr {
            Instr::Binary { op: BinaryOp::Mul, dst, a, b } if a.is_base() || b.is_base() => {
                let (value, scale) = if b.is_base() { (a, b) } else { (b, a) };
                let text = format!("v_scale({}, {})", self.value(value), self.word(scale));
                self.define(dst, text);
            }
            Instr::Binary { op, dst, a, b } => {
                let call = match op {
                    BinaryOp::Add => "v_add",
                    BinaryOp::Sub => "v_sub",
                    BinaryOp::Mul => "v_mul",
                };
                let text = format!("{call}({}, {})", self.value(a), self.value(b));
                self.define(dst, text);
            }
            Instr::Neg { dst, a } => {
                let text = format!("v_neg({})", self.value(a));
                self.define(dst, text);
            }
            Instr::Accumulate { acc, weight, value } => {
                let value = self.value(value);
                self.line(format_args!("accumulate{acc}({weight}u, {value});"));
            }
            Instr::Emit { output, numerator } => {
                let numerator = self.value(numerator);
                self.line(format_args!("emit({output}u, {numerator});"));
            }
        }
    }

    fn define(&mut self, dst: u32, value: String) {
        let name = self.next;
        self.next += 1;
        self.names[dst as usize] = name;
        self.line(format_args!("let v{name} = {value};"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "  {line}").expect("a String takes any text");
    }

    fn value(&self, operand: Operand) -> String {
        match operand {
            Operand::Register(r) => format!("v{}", self.names[r as usize]),
            Operand::Column(c) => {
                let column = self.program.columns[c as usize];
                let index = self.layout.index(column);
                let index = index.unwrap_or_else(|| panic!("the tile layout lacks {column:?}"));
                format!("column({index}u)")
            }
            Operand::Constant(_) | Operand::PublicValue(_) => {
                format!("lift({})", self.word(operand))
            }
        }
    }

    /// A base-field word: a literal, or a public value from the table.
    fn word(&self, operand: Operand) -> String {
        match operand {
            Operand::Constant(c) => {
                format!("{}u", montgomery_word(self.program.constants[c as usize]))
            }
            Operand::PublicValue(i) => {
                format!("constant({}u)", self.program.constants.len() as u32 + i)
            }
            Operand::Register(_) | Operand::Column(_) => unreachable!("not a base-field word"),
        }
    }
}

/// The word that represents `value` on the device: `value * 2^32 mod p`.
pub(super) fn montgomery_word(value: F) -> u32 {
    ((u64::from(value.as_canonical_u32()) << 32) % u64::from(F::ORDER_U32)) as u32
}
