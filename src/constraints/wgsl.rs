//! The straight-line body of a generated kernel.
//!
//! The text calls functions that the kernel's frame (`wgsl/constraints/{points,lines,emit}.wgsl`) defines for the field of its tile:
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
//!
//! and over the base field, where values need not be canonical everywhere,
//!
//! | call | meaning |
//! | --- | --- |
//! | `lazy_add(a, b)`, `lazy_sub(a, b)` | a number below `2 p` that stands for the sum or the difference of canonical `a`, `b`; only ever one factor of a product |
//! | `fold0()`, `fold1()` | makes room in an accumulator for [`ROOM`] products of canonical values |

use std::fmt::Write;

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeField32;

use super::{BinaryOp, Chunk, Instr, Operand, Program, TileLayout};

/// Products of canonical values that an accumulator takes behind a fold. A product with a lazy factor counts as two.
pub const ROOM: u32 = 2;

/// The statements of `chunk`, one a line, with columns placed by `layout`, for a tile over EF if `extension`.
///
/// # Panics
/// If `layout` lacks a column that the chunk reads.
pub fn chunk_body(program: &Program, chunk: &Chunk, layout: &TileLayout, extension: bool) -> String {
    let mut writer = Writer {
        program,
        layout,
        extension,
        lazy: if extension { vec![false; chunk.instrs.len()] } else { lazy_values(chunk) },
        names: vec![0; chunk.registers as usize],
        room: [ROOM; 2],
        text: String::with_capacity(48 * chunk.instrs.len()),
    };
    for (i, &instr) in chunk.instrs.iter().enumerate() {
        writer.instr(i, instr);
    }
    writer.text
}

/// For each instruction whether its result may stay below `2 p`: it is a sum or difference, and each use is a product with a canonical
/// value (an accumulated value is one, with a weight).
fn lazy_values(chunk: &Chunk) -> Vec<bool> {
    let is_sum = |instr: &Instr| matches!(instr, Instr::Binary { op: BinaryOp::Add | BinaryOp::Sub, .. });
    let mut lazy: Vec<bool> = chunk.instrs.iter().map(is_sum).collect();
    // the instruction whose result each register holds
    let mut holders = vec![0; chunk.registers as usize];
    for (i, &instr) in chunk.instrs.iter().enumerate() {
        let holder = |operand| match operand {
            Operand::Register(r) => Some(holders[r as usize]),
            _ => None,
        };
        match instr {
            Instr::Binary { op: BinaryOp::Mul, a, b, .. } => {
                if let (Some(a), Some(b)) = (holder(a), holder(b)) {
                    lazy[b] &= !lazy[a];
                }
            }
            Instr::Accumulate { .. } => {}
            _ => instr.operands().filter_map(holder).for_each(|value| lazy[value] = false),
        }
        if let Instr::Binary { dst, .. } | Instr::Neg { dst, .. } = instr {
            holders[dst as usize] = i;
        }
    }
    lazy
}

struct Writer<'a> {
    program: &'a Program,
    layout: &'a TileLayout,
    extension: bool,
    /// By instruction: see [`lazy_values`].
    lazy: Vec<bool>,
    /// The instruction whose result each register holds; variables are named after instructions.
    names: Vec<usize>,
    /// Products that each accumulator still takes.
    room: [u32; 2],
    text: String,
}

impl Writer<'_> {
    fn instr(&mut self, i: usize, instr: Instr) {
        match instr {
            Instr::Binary { op: BinaryOp::Mul, dst, a, b } if a.is_base() || b.is_base() => {
                let (value, scale) = if b.is_base() { (a, b) } else { (b, a) };
                let text = format!("v_scale({}, {})", self.value(value), self.word(scale));
                self.define(i, dst, text);
            }
            Instr::Binary { op, dst, a, b } => {
                let call = match op {
                    BinaryOp::Add if self.lazy[i] => "lazy_add",
                    BinaryOp::Sub if self.lazy[i] => "lazy_sub",
                    BinaryOp::Add => "v_add",
                    BinaryOp::Sub => "v_sub",
                    BinaryOp::Mul => "v_mul",
                };
                let text = format!("{call}({}, {})", self.value(a), self.value(b));
                self.define(i, dst, text);
            }
            Instr::Neg { dst, a } => {
                let text = format!("v_neg({})", self.value(a));
                self.define(i, dst, text);
            }
            Instr::Accumulate { acc, weight, value } => {
                self.make_room(acc, value);
                let value = self.value(value);
                self.line(format_args!("accumulate{acc}({weight}u, {value});"));
            }
            Instr::Emit { output, numerator } => {
                let numerator = self.value(numerator);
                self.line(format_args!("emit({output}u, {numerator});"));
                self.room[1] = ROOM;
            }
        }
    }

    /// Folds the accumulator if it has no room for `value` times a weight.
    fn make_room(&mut self, acc: u32, value: Operand) {
        if self.extension {
            return;
        }
        let lazy = matches!(value, Operand::Register(r) if self.lazy[self.names[r as usize]]);
        let products = if lazy { 2 } else { 1 };
        if self.room[acc as usize] < products {
            self.line(format_args!("fold{acc}();"));
            self.room[acc as usize] = ROOM;
        }
        self.room[acc as usize] -= products;
    }

    fn define(&mut self, name: usize, dst: u32, value: String) {
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
