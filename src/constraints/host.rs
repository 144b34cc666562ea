//! Runs programs on the host, as the reference for the kernels and against upstream's evaluation.

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::ExtensionField;

use super::{BinaryOp, Chunk, Instr, Operand, Program, TileColumn};

/// What a row evaluates to; `V` is the field of the columns, `E` that of the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowValue<V, E> {
    /// Sums of the accumulators over the chunks.
    pub acc: [E; 2],
    /// `(numerator, denominator)` by output, for a program that emits.
    pub outputs: Vec<(V, E)>,
}

/// The tables that a program reads besides its columns.
#[derive(Clone, Copy, Debug)]
pub struct RowTables<'a, E> {
    /// Public values of the AIR.
    pub public_values: &'a [F],
    /// Weights, `num_weights` of them.
    pub weights: &'a [E],
}

impl Program {
    /// Evaluates one row, whose columns `column` gives.
    pub fn eval_row<V, E>(&self, column: impl Fn(TileColumn) -> V, tables: RowTables<'_, E>) -> RowValue<V, E>
    where
        V: ExtensionField<F>,
        E: ExtensionField<V>,
    {
        let mut row = RowValue { acc: [E::ZERO; 2], outputs: vec![(V::ZERO, E::ZERO); self.num_outputs] };
        for chunk in &self.chunks {
            let acc = self.eval_chunk(chunk, &column, tables, &mut row.outputs);
            row.acc[0] += acc[0];
            row.acc[1] += acc[1];
        }
        row
    }

    /// Evaluates one chunk of one row: returns its accumulators, writes what it emits.
    pub fn eval_chunk<V, E>(
        &self,
        chunk: &Chunk,
        column: &impl Fn(TileColumn) -> V,
        tables: RowTables<'_, E>,
        outputs: &mut [(V, E)],
    ) -> [E; 2]
    where
        V: ExtensionField<F>,
        E: ExtensionField<V>,
    {
        let mut registers = vec![V::ZERO; chunk.registers as usize];
        let mut accumulators = [E::ZERO; 2];
        for &instr in &chunk.instrs {
            let get = |operand: Operand| match operand {
                Operand::Register(r) => registers[r as usize],
                Operand::Column(c) => column(self.columns[c as usize]),
                Operand::Constant(c) => self.constants[c as usize].into(),
                Operand::PublicValue(i) => tables.public_values[i as usize].into(),
            };
            match instr {
                Instr::Binary { op, dst, a, b } => {
                    let (a, b) = (get(a), get(b));
                    registers[dst as usize] = match op {
                        BinaryOp::Add => a + b,
                        BinaryOp::Sub => a - b,
                        BinaryOp::Mul => a * b,
                    };
                }
                Instr::Neg { dst, a } => registers[dst as usize] = -get(a),
                Instr::Accumulate { acc, weight, value } => {
                    accumulators[acc as usize] += tables.weights[weight as usize] * get(value);
                }
                Instr::Emit { output, numerator } => {
                    let denominator = std::mem::replace(&mut accumulators[1], E::ZERO);
                    outputs[output as usize] = (get(numerator), denominator);
                }
            }
        }
        accumulators
    }
}
