//! A round of WHIR's sumcheck on its table of terms (`wgsl/whir/round.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::{sum_rows::SumRows, transcript::Challenge},
};

kernel! {
    /// s(1) and s(2), after folding by the last challenge
    struct RoundKernel("whir/round.wgsl", workgroup = 128) {
        buffers { read tape: F, read source: EF, write folded: EF, write partials: EF }
        params { pairs, groups, folding, alpha }
    }
}

/// The sumcheck's table: `rows` rows (terms of the weight) of `2^log_row` coefficients, then as many moments.
#[derive(Clone)]
pub struct TermTable {
    pub rows: usize,
    pub log_row: usize,
    pub values: DeviceBuffer<EF>,
}

impl TermTable {
    /// A table with undefined contents.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn alloc(rec: &Recorder, rows: usize, log_row: usize) -> Result<Self> {
        let values = rec.gpu().alloc((2 * rows) << log_row, "WHIR sumcheck table")?;
        Ok(Self { rows, log_row, values })
    }

    /// Entries of each half.
    pub fn entries(&self) -> usize {
        self.rows << self.log_row
    }
}

/// Folds the table by the challenge `alpha`, if there is one yet, and sums the next round polynomial at 1 and 2.
/// Returns the folded table and the two sums.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub fn round(
    rec: &mut Recorder,
    table: &TermTable,
    alpha: Option<&Challenge>,
) -> Result<(TermTable, DeviceBuffer<EF>)> {
    let folds = alpha.is_some() as usize;
    assert!(table.log_row > folds, "a table without a pair of entries");
    let log_row = table.log_row - folds;
    let pairs = table.rows << (log_row - 1);
    let groups = pairs.div_ceil(128);
    // without folding, a place that is bound but not written
    let folded = TermTable::alloc(rec, if folds == 1 { table.rows } else { 1 }, log_row)?;
    let partials = rec.gpu().alloc(2 * groups, "partial sums of a round polynomial")?;
    let unread = table.values.cast();
    let kernel = RoundKernel {
        tape: alpha.map_or(&unread, Challenge::tape),
        source: &table.values,
        folded: &folded.values,
        partials: &partials,
        pairs: pairs as u32,
        groups: groups as u32,
        folding: folds as u32,
        alpha: alpha.map_or(0, Challenge::word),
    };
    rec.dispatch(&kernel, Grid::workgroups(groups));
    let sums = if groups == 1 {
        partials
    } else {
        let sums = rec.gpu().alloc(2, "round polynomial")?;
        SumRows { values: &partials, rows: 2, len: groups, out: &sums }.record(rec);
        sums
    };
    Ok((if folds == 1 { folded } else { table.clone() }, sums))
}

#[cfg(test)]
mod tests {
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    /// The sums of `f w` at 1 and 2 for evaluations `f`, `w` whose lowest variable is the round's.
    fn sums_of_evaluations(f: &[EF], w: &[EF]) -> [EF; 2] {
        [1, 2].map(|x| {
            let at = |v: &[EF]| v[0] + (v[1] - v[0]) * F::from_u32(x);
            f.chunks(2).zip(w.chunks(2)).map(|(f, w)| at(f) * at(w)).sum()
        })
    }

    fn fold_evaluations(v: &[EF], alpha: EF) -> Vec<EF> {
        v.chunks(2).map(|v| v[0] + alpha * (v[1] - v[0])).collect()
    }

    /// Coefficients of a row of evaluations.
    fn coefficients(row: &[EF]) -> Vec<EF> {
        let mut c = row.to_vec();
        openvm_stark_backend::prover::poly::Mle::evals_to_coeffs_inplace(&mut c);
        c
    }

    /// Moments of a row of evaluations: sums over supersets.
    fn moments(row: &[EF]) -> Vec<EF> {
        (0..row.len()).map(|t| (0..row.len()).filter(|x| x & t == t).map(|x| row[x]).sum()).collect()
    }

    #[test]
    fn rounds_match_the_sumcheck_of_evaluations() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(15);
        let tape: Vec<F> = (0..20).map(|_| rng.random()).collect();
        let device_tape = gpu.upload(&tape, "tape").unwrap();
        let mut random = |len: usize| -> Vec<EF> { (0..len).map(|_| rng.random()).collect() };
        for (rows, k) in [(1, 1), (1, 4), (3, 2), (37, 4), (300, 3), (17, 6)] {
            let (mut f, mut w) = (random(rows << k), random(rows << k));
            let values = f.chunks(1 << k).flat_map(coefficients).chain(w.chunks(1 << k).flat_map(moments));
            let values = gpu.upload(&values.collect::<Vec<_>>(), "table").unwrap();
            let mut table = TermTable { rows, log_row: k, values };
            for i in 0..k {
                let word = 3 * i;
                let alpha = (i > 0).then(|| Challenge::new(&device_tape, word));
                let mut rec = gpu.recorder("test");
                let (folded, sums) = round(&mut rec, &table, alpha.as_ref()).unwrap();
                let tickets = (rec.download(&folded.values), rec.download(&sums));
                let done = rec.wait().unwrap();
                if i > 0 {
                    let alpha = EF::from_basis_coefficients_slice(&tape[word..word + 4]).unwrap();
                    (f, w) = (fold_evaluations(&f, alpha), fold_evaluations(&w, alpha));
                }
                assert_eq!(done.take(tickets.1).unwrap(), sums_of_evaluations(&f, &w), "{rows} rows, round {i}");
                let row = 1 << (k - i);
                let expected = f.chunks(row).flat_map(coefficients).chain(w.chunks(row).flat_map(moments));
                assert_eq!(done.take(tickets.0).unwrap(), expected.collect::<Vec<_>>());
                table = folded;
            }
        }
    }
}
