//! Rows of a trace out of records.

use std::any::Any;

use crypto_bigint::Uint;
use openvm_circuit::arch::{
    get_record_from_slice, AdapterTraceFiller, MatrixRecordArena, RowMajorMatrixArena, TraceFiller,
};
use openvm_mod_circuit_builder::FieldExpressionCoreRecordMut;
use openvm_stark_backend::{p3_matrix::dense::RowMajorMatrix, prover::AirProvingContext};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::{
    constraint::{Rest, LIMB_BITS},
    counts::{Lookups, OwnCounts, Shared},
    modulus::number,
    plan::{ModOp, Plan, Variant},
    Adapter, FieldChip, FieldTraces, HostBackend, Traces,
};

/// Rows that a thread takes at once.
const PART: usize = 256;

/// Rows that share inversions.
const BATCH: usize = 32;

impl<const L: usize, const READS: usize, const BLOCKS: usize> FieldTraces for Traces<L, READS, BLOCKS> {
    fn context(&self, chip: &dyn Any, records: MatrixRecordArena<F>) -> AirProvingContext<HostBackend> {
        let chip: &FieldChip<READS, BLOCKS> = chip.downcast_ref().expect("the chip that this was made for");
        let used = records.trace_offset();
        let trace = fill_in_parts(records, &self.lookups, |rows, width, counts| {
            Part::new(self, chip, counts).fill(rows, width);
        });
        AirProvingContext::simple(pad(chip, trace, used), chip.inner.generate_public_values())
    }
}

/// Turns records into a trace on all threads, which get parts of the rows with the width and counts of their own.
pub(super) fn fill_in_parts(
    records: MatrixRecordArena<F>,
    lookups: &Lookups,
    fill: impl Fn(&mut [F], usize, &OwnCounts) + Sync,
) -> RowMajorMatrix<F> {
    let (width, used) = (records.width(), records.trace_offset());
    let mut trace = records.into_matrix();
    let shared = Shared::new(lookups);
    let parts = trace.values[..used].par_chunks_mut(PART * width);
    parts.for_each(|rows| shared.with(|counts| fill(rows, width, counts)));
    shared.finish();
    trace
}

/// Rows behind the records are all the same.
fn pad<const READS: usize, const BLOCKS: usize>(
    chip: &FieldChip<READS, BLOCKS>,
    mut trace: RowMajorMatrix<F>,
    used: usize,
) -> RowMajorMatrix<F> {
    let width = trace.width;
    let padding = &mut trace.values[used..];
    if chip.inner.should_finalize && !padding.is_empty() {
        let (first, others) = padding.split_at_mut(width);
        chip.inner.fill_dummy_trace_row(first);
        others.par_chunks_exact_mut(width).for_each(|row| row.copy_from_slice(first));
    }
    trace
}

/// What a thread needs for a part of the rows.
struct Part<'a, const L: usize, const READS: usize, const BLOCKS: usize> {
    traces: &'a Traces<L, READS, BLOCKS>,
    chip: &'a FieldChip<READS, BLOCKS>,
    adapter: Adapter<READS, BLOCKS>,
    counts: &'a OwnCounts,
    /// Results of operations, those of one for all rows of a batch one behind the other.
    results: Vec<Uint<L>>,
    inputs: Vec<Uint<L>>,
    cells: Cells,
}

/// The limbs of one row.
struct Cells {
    row: Vec<i32>,
    quotients: Vec<i32>,
    carries: Vec<i32>,
    rest: Rest,
}

impl<'a, const L: usize, const READS: usize, const BLOCKS: usize> Part<'a, L, READS, BLOCKS> {
    fn new(traces: &'a Traces<L, READS, BLOCKS>, chip: &'a FieldChip<READS, BLOCKS>, counts: &'a OwnCounts) -> Self {
        let adapter = Adapter::new(traces.pointer_bits, counts.bitwise.clone());
        let row = traces.plan.row.clone();
        let cells = Cells { row, quotients: vec![], carries: vec![], rest: Rest::default() };
        Self { traces, chip, adapter, counts, results: vec![], inputs: vec![], cells }
    }

    fn fill(&mut self, rows: &mut [F], width: usize) {
        for batch in rows.chunks_mut(BATCH * width) {
            let mut batch: Vec<&mut [F]> = batch.chunks_exact_mut(width).collect();
            let opcodes: Vec<usize> = batch.iter_mut().map(|row| self.read(row)).collect();
            for (number, variant) in self.traces.plan.variants.iter().enumerate() {
                let of_variant: Vec<usize> = (0..batch.len()).filter(|row| opcodes[*row] == number).collect();
                self.traces.plan.evaluate(variant, &self.inputs, &of_variant, &mut self.results);
                for (place, row) in of_variant.iter().enumerate() {
                    self.finish(variant, (place, of_variant.len()), *row, batch[*row]);
                }
            }
            self.inputs.clear();
        }
    }

    fn core<'b>(&self, row: &'b mut [F]) -> &'b mut [F] {
        let adapter = <Adapter<READS, BLOCKS> as AdapterTraceFiller<F>>::WIDTH;
        &mut row[adapter..]
    }

    /// Takes a record's operands; the number of the variant of its opcode.
    fn read(&mut self, row: &mut [F]) -> usize {
        let mut core = self.core(row);
        let layout = self.chip.inner.get_record_layout::<F>();
        // SAFETY: the executor has written the record with this layout
        let record: FieldExpressionCoreRecordMut<'_> = unsafe { get_record_from_slice(&mut core, layout) };
        let operands = record.input_limbs.chunks_exact(Plan::<L>::BYTES);
        self.inputs.extend(operands.map(|bytes| number::<L>(bytes).expect("as many bytes")));
        self.traces.plan.variant_of(*record.opcode)
    }

    /// Turns a record into its row, with the results at `place` of `rows`.
    fn finish(&mut self, variant: &Variant<L>, place: (usize, usize), input: usize, row: &mut [F]) {
        let plan = &self.traces.plan;
        let inputs = &self.inputs[input * plan.inputs..][..plan.inputs];
        if !self.cells.solve(plan, variant, inputs, &self.results, place) {
            // operands that no proof can be made of, such as a wrong modulus
            return self.chip.inner.fill_trace_row(&self.chip.mem_helper.as_borrowed(), row);
        }
        self.cells.count(plan, variant, self.counts);
        let core = self.core(row);
        self.cells.write(plan, variant, core);
        self.adapter.fill_trace_row(&self.counts.memory.as_borrowed(), &mut row[..self.adapter_width()]);
    }

    fn adapter_width(&self) -> usize {
        <Adapter<READS, BLOCKS> as AdapterTraceFiller<F>>::WIDTH
    }
}

impl<const L: usize> Plan<L> {
    /// Computes a variant's operations for those `rows` of a batch whose flags it is for.
    fn evaluate(&self, variant: &Variant<L>, inputs: &[Uint<L>], rows: &[usize], results: &mut Vec<Uint<L>>) {
        let (modulus, count) = (&self.modulus, rows.len());
        results.clear();
        for op in &variant.ops {
            let result = |of: usize, row: usize| results[of * count + row];
            let next: Vec<Uint<L>> = match *op {
                ModOp::Input(input) => {
                    rows.iter().map(|row| modulus.enter(&inputs[row * self.inputs + input])).collect()
                }
                ModOp::Constant(value) => vec![value; count],
                ModOp::Add(a, b) => (0..count).map(|row| modulus.add(&result(a, row), &result(b, row))).collect(),
                ModOp::Sub(a, b) => (0..count).map(|row| modulus.sub(&result(a, row), &result(b, row))).collect(),
                ModOp::Mul(a, b) => (0..count).map(|row| modulus.mul(&result(a, row), &result(b, row))).collect(),
                ModOp::Div(a, b) => {
                    let mut inverses = results[b * count..][..count].to_vec();
                    modulus.invert_all(&mut inverses);
                    inverses.iter().enumerate().map(|(row, inverse)| modulus.mul(&result(a, row), inverse)).collect()
                }
            };
            results.extend(next);
        }
    }
}

impl Cells {
    /// Computes all limbs of a row; false if a constraint does not hold.
    fn solve<const L: usize>(
        &mut self,
        plan: &Plan<L>,
        variant: &Variant<L>,
        inputs: &[Uint<L>],
        results: &[Uint<L>],
        (place, rows): (usize, usize),
    ) -> bool {
        let vars = variant.vars.iter().map(|var| plan.modulus.leave(&results[var * rows + place]));
        let numbers = inputs.iter().copied().chain(vars);
        for (limbs, number) in self.row.chunks_exact_mut(Plan::<L>::BYTES).zip(numbers) {
            for (limbs, word) in limbs.chunks_exact_mut(8).zip(number.as_words()) {
                limbs.iter_mut().zip(word.to_le_bytes()).for_each(|(limb, byte)| *limb = byte.into());
            }
        }
        let sums = variant.constraints.iter().fold((0, 0), |(q, c), next| (q + next.quotient, c + next.carries));
        self.quotients.resize(sums.0, 0);
        self.carries.resize(sums.1, 0);
        let (mut quotients, mut carries) = (&mut self.quotients[..], &mut self.carries[..]);
        for constraint in &variant.constraints {
            let (quotient, more_quotients) = quotients.split_at_mut(constraint.quotient);
            let (carry, more_carries) = carries.split_at_mut(constraint.carries);
            if !constraint.solve(&mut self.row, &plan.prime, (quotient, carry), &mut self.rest) {
                return false;
            }
            (quotients, carries) = (more_quotients, more_carries);
        }
        true
    }

    fn count<const L: usize>(&self, plan: &Plan<L>, variant: &Variant<L>, counts: &OwnCounts) {
        for quotient in &self.quotients {
            counts.add(quotient + (1 << LIMB_BITS), LIMB_BITS + 1);
        }
        let mut carries = &self.carries[..];
        for constraint in &variant.constraints {
            let (own, others) = carries.split_at(constraint.carries);
            own.iter().for_each(|carry| counts.add(carry + constraint.carry_offset, constraint.carry_bits));
            carries = others;
        }
        for limb in &self.row[plan.inputs * Plan::<L>::BYTES..][..plan.vars * Plan::<L>::BYTES] {
            counts.add(*limb, LIMB_BITS);
        }
    }

    fn write<const L: usize>(&self, plan: &Plan<L>, variant: &Variant<L>, core: &mut [F]) {
        let numbers = &self.row[..(plan.inputs + plan.vars) * Plan::<L>::BYTES];
        let limbs = numbers.iter().chain(&self.quotients).chain(&self.carries);
        let (is_valid, cells) = core.split_first_mut().expect("columns");
        *is_valid = F::ONE;
        let (cells, flags) = cells.split_at_mut(cells.len() - variant.flags.len());
        cells.iter_mut().zip(limbs).for_each(|(cell, limb)| *cell = F::from_i32(*limb));
        flags.iter_mut().zip(&variant.flags).for_each(|(cell, flag)| *cell = F::from_bool(*flag));
    }
}
