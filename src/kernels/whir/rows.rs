//! Rows of the sumcheck's table, at the start of a WHIR round (`wgsl/whir/{dense,point}_rows.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::TwoAdicField;

use super::round::TermTable;
use crate::{
    error::Result,
    gpu::{as_words, DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::{Challenge, Observed},
};

kernel! {
    /// c = dots, m = C_t e_t
    struct DenseRows("whir/dense_rows.wgsl", workgroup = 64) {
        buffers { read tape: F, read coordinates: EF, read dots: EF, read last_table: EF, write table: EF }
        params { rows, k, first_variable, stride, entries, initial, gamma, last_rows, last_alpha }
    }
}

kernel! {
    /// c = residue classes at z^(2^k) from the codeword, m = C_p z^b
    struct PointRowsKernel("whir/point_rows.wgsl", workgroup = 64) {
        buffers {
            read tape: F, read codeword: EF, read gammas: EF, read last_table: EF, read last_exponents: u32,
            write table: EF, write exponents: u32
        }
        params {
            points, k, first_row, entries, log_domain, omega, queries, query_bits, last_points, last_first_row, last_rows, last_alpha
        }
    }
}

/// What the last WHIR round left: its table with two entries a row, and the challenge that folds them.
#[derive(Clone, Copy)]
pub(crate) struct LastRound<'a> {
    pub table: &'a TermTable,
    /// The last folding challenge.
    pub alpha: &'a Challenge,
    /// The challenge that batches the new terms.
    pub gamma: &'a Challenge,
}

/// The terms whose inner products with f are known: eq(u, .), then the out-of-domain points, the last of which is new.
pub(crate) struct DenseTerms<'a> {
    pub terms: usize,
    /// Inner products, `[term][2^k]`.
    pub dots: &'a DeviceBuffer<EF>,
    /// `[term][stride]`, of which this round's variables start at `first_variable`.
    pub coordinates: &'a DeviceBuffer<EF>,
    pub stride: usize,
    pub first_variable: usize,
}

/// Queried points `omega^e` with `omega` the generator of the codeword's domain.
#[derive(Clone)]
pub(crate) struct Points {
    pub exponents: DeviceBuffer<u32>,
}

/// The queries of the last round.
pub(crate) struct NewPoints<'a> {
    /// The codeword of f in natural order.
    pub codeword: &'a DeviceBuffer<EF>,
    /// The sampled words.
    pub queries: &'a Observed<F>,
    /// Low bits of a sampled word that make the index.
    pub bits: usize,
    /// `gamma^i` for `i < queries.len() + 2`.
    pub gammas: &'a DeviceBuffer<EF>,
}

/// Writes the first rows of `table`, those of the dense terms.
pub(crate) fn dense_rows(rec: &mut Recorder, terms: &DenseTerms<'_>, last: Option<LastRound<'_>>, table: &TermTable) {
    let k = table.log_row;
    let last_terms = terms.terms - 1;
    assert!(terms.terms <= table.rows && terms.dots.len() == terms.terms << k, "dense terms of a table");
    assert!(last_terms * terms.stride + terms.first_variable + k <= terms.coordinates.len(), "coordinates of a table");
    assert!(last.is_none_or(|l| l.table.log_row == 1 && last_terms <= l.table.rows), "table of the last round");
    assert!(last.is_none_or(|l| l.alpha.is_on(l.gamma.tape())), "challenges on one tape");
    let unread = terms.dots.cast();
    let kernel = DenseRows {
        tape: last.map_or(&unread, |l| l.gamma.tape()),
        coordinates: terms.coordinates,
        dots: terms.dots,
        last_table: last.map_or(terms.dots, |l| &l.table.values),
        table: &table.values,
        rows: terms.terms as u32,
        k: k as u32,
        first_variable: terms.first_variable as u32,
        stride: terms.stride as u32,
        entries: table.entries() as u32,
        initial: last.is_none() as u32,
        gamma: last.map_or(0, |l| l.gamma.word()),
        last_rows: last.map_or(0, |l| l.table.rows as u32),
        last_alpha: last.map_or(0, |l| l.alpha.word()),
    };
    rec.dispatch(&kernel, Grid::threads(terms.terms << k));
}

/// The last rows of `table`, those of all points queried so far; the last round's `points` are the last rows of its table.
pub(crate) struct PointRows<'a> {
    pub new: &'a NewPoints<'a>,
    pub points: &'a Points,
    pub last: LastRound<'a>,
    pub table: &'a TermTable,
}

impl PointRows<'_> {
    /// Returns all points.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(crate) fn record(&self, rec: &mut Recorder) -> Result<Points> {
        let Self { new, points, last, table } = *self;
        let k = table.log_row;
        let log_domain = new.codeword.len().ilog2() as usize;
        let last_points = points.len();
        let count = last_points + new.queries.len();
        assert!(new.codeword.len().is_power_of_two() && (1..=log_domain).contains(&k), "domain of a codeword");
        assert!(new.bits + k == log_domain + 1, "query bits");
        assert!(new.gammas.len() >= new.queries.len() + 2, "powers of gamma");
        assert!(last.table.log_row == 1 && last_points <= last.table.rows, "table of the last round");
        let exponents = rec.gpu().alloc(count, "query points")?;
        assert!(last.alpha.is_on(new.queries.tape()), "challenge and queries on one tape");
        let kernel = PointRowsKernel {
            tape: new.queries.tape(),
            codeword: new.codeword,
            gammas: new.gammas,
            last_table: &last.table.values,
            last_exponents: &points.exponents,
            table: &table.values,
            exponents: &exponents,
            points: count as u32,
            k: k as u32,
            first_row: (table.rows - count) as u32,
            entries: table.entries() as u32,
            log_domain: log_domain as u32,
            omega: as_words(&[F::two_adic_generator(log_domain)])[0],
            queries: new.queries.word(),
            query_bits: new.bits as u32,
            last_points: last_points as u32,
            last_first_row: (last.table.rows - last_points) as u32,
            last_rows: last.table.rows as u32,
            last_alpha: last.alpha.word(),
        };
        rec.dispatch(&kernel, Grid::threads(count << k));
        Ok(Points { exponents })
    }
}

impl Points {
    /// No points.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(crate) fn none(rec: &Recorder) -> Result<Self> {
        Ok(Self { exponents: rec.gpu().alloc(0, "query points")? })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.exponents.len()
    }
}

#[cfg(test)]
mod tests {
    use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    struct Setup {
        tape: Vec<F>,
        last: Vec<EF>,
        last_rows: usize,
    }

    const ALPHA: usize = 5;
    const GAMMA: usize = 11;
    const QUERIES: usize = 17;

    impl Setup {
        fn ext(&self, word: usize) -> EF {
            EF::from_basis_coefficients_slice(&self.tape[word..word + 4]).unwrap()
        }

        /// Query `q` as a point of the domain of 2^bits.
        fn query_point(&self, q: usize, bits: usize) -> F {
            let index = self.tape[QUERIES + q].as_canonical_u32() & ((1 << bits) - 1);
            F::two_adic_generator(bits).exp_u64(index as u64)
        }

        /// The coefficient that the last table gives a row: its two moments folded as evaluations w(0) = m0 - m1, w(1) = m1 would be.
        fn coefficient(&self, row: usize) -> EF {
            let [m0, m1] = [0, 1].map(|i| self.last[2 * (self.last_rows + row) + i]);
            (m0 - m1) + self.ext(ALPHA) * (m1 - (m0 - m1))
        }
    }

    fn setup(rng: &mut StdRng, last_rows: usize) -> Setup {
        let tape = (0..200).map(|_| rng.random()).collect();
        let last = (0..4 * last_rows).map(|_| rng.random()).collect();
        Setup { tape, last, last_rows }
    }

    #[test]
    fn dense_rows_match_the_formula() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(16);
        for (terms, k, stride, first, initial) in
            [(1, 1, 1, 0, true), (1, 4, 9, 0, true), (2, 1, 3, 2, false), (3, 4, 20, 8, false), (5, 5, 9, 4, false)]
        {
            let s = setup(&mut rng, terms + 30);
            let mut random = |len: usize| -> Vec<EF> { (0..len).map(|_| rng.random()).collect() };
            let (dots, x) = (random(terms << k), random(terms * stride));
            let tape = gpu.upload(&s.tape, "tape").unwrap();
            let device_dots = gpu.upload(&dots, "dots").unwrap();
            let coordinates = gpu.upload(&x, "x").unwrap();
            let last_table = TermTable { rows: s.last_rows, log_row: 1, values: gpu.upload(&s.last, "last").unwrap() };
            let [alpha, gamma] = [ALPHA, GAMMA].map(|word| Challenge::new(&tape, word));
            let last = LastRound { table: &last_table, alpha: &alpha, gamma: &gamma };
            let mut rec = gpu.recorder("test");
            let table = TermTable::alloc(&rec, terms + 3, k).unwrap();
            let dense =
                DenseTerms { terms, dots: &device_dots, coordinates: &coordinates, stride, first_variable: first };
            dense_rows(&mut rec, &dense, (!initial).then_some(last), &table);
            let ticket = rec.download(&table.values);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            for t in 0..terms {
                let coefficient = match (initial, t + 1 == terms) {
                    (true, _) => EF::ONE,
                    (false, true) => s.ext(GAMMA),
                    (false, false) => s.coefficient(t),
                };
                for b in 0..1 << k {
                    let x = &x[t * stride + first..][..k];
                    let zero = |x: EF| if t == 0 { EF::ONE - x } else { EF::ONE };
                    let product: EF =
                        x.iter().enumerate().map(|(i, x)| if (b >> i) & 1 == 1 { *x } else { zero(*x) }).product();
                    let at = (t << k) + b;
                    assert_eq!(found[at], dots[at]);
                    assert_eq!(found[table.entries() + at], coefficient * product);
                }
            }
        }
    }

    #[test]
    fn point_rows_match_the_evaluations_of_residue_classes() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(17);
        // (log_domain, log_len, k, last points, new points)
        for (log_domain, log_len, k, last_points, count) in
            [(1, 1, 1, 0, 1), (4, 3, 1, 2, 3), (6, 4, 4, 5, 7), (9, 7, 3, 20, 1), (12, 5, 4, 0, 40), (5, 5, 5, 3, 0)]
        {
            let s = setup(&mut rng, last_points + 3);
            let f: Vec<EF> = (0..1 << log_len).map(|_| rng.random()).collect();
            let padded = [f.clone(), vec![EF::ZERO; (1 << log_domain) - f.len()]].concat();
            let codeword = gpu.upload(&Radix2DitParallel::<F>::default().dft_algebra(padded), "codeword").unwrap();
            let exponents: Vec<u32> = (0..last_points).map(|_| rng.random_range(0..2 << log_domain)).collect();
            let gammas: Vec<EF> = s.ext(GAMMA).powers().take(count + 2).collect();
            let bits = log_domain + 1 - k;
            let tape = gpu.upload(&s.tape, "tape").unwrap();
            let last_table = TermTable { rows: s.last_rows, log_row: 1, values: gpu.upload(&s.last, "last").unwrap() };
            let [alpha, gamma] = [ALPHA, GAMMA].map(|word| Challenge::new(&tape, word));
            let last = LastRound { table: &last_table, alpha: &alpha, gamma: &gamma };
            let new = NewPoints {
                codeword: &codeword,
                queries: &Observed::new(&tape, QUERIES, count),
                bits,
                gammas: &gpu.upload(&gammas, "gammas").unwrap(),
            };
            let points = Points { exponents: gpu.upload(&exponents, "exponents").unwrap() };
            let mut rec = gpu.recorder("test");
            let table = TermTable::alloc(&rec, last_points + count + 2, k).unwrap();
            let next = PointRows { new: &new, points: &points, last, table: &table }.record(&mut rec).unwrap();
            let tickets = (rec.download(&table.values), rec.download(&next.exponents));
            let done = rec.wait().unwrap();
            let (found, next) = (done.take(tickets.0).unwrap(), done.take(tickets.1).unwrap());
            // z by upstream's definition: the last points to the 2^k-th, the new ones in the domain of the query indices
            let last_point = |p: usize| {
                let z = F::two_adic_generator(log_domain + 1).exp_u64(exponents[p] as u64);
                (z.exp_power_of_2(k), s.coefficient(3 + p))
            };
            let new_point = |q: usize| (s.query_point(q, bits), gammas[2 + q]);
            let expected = (0..last_points).map(last_point).chain((0..count).map(new_point));
            for (p, (z, coefficient)) in expected.enumerate() {
                assert_eq!(F::two_adic_generator(log_domain).exp_u64(next[p] as u64), z);
                for b in 0..1usize << k {
                    let class = f.iter().skip(b).step_by(1 << k);
                    let value: EF = class.zip(z.exp_power_of_2(k).powers()).map(|(f, z)| *f * z).sum();
                    let at = ((2 + p) << k) + b;
                    assert_eq!(found[at], value, "point {p}, class {b}");
                    assert_eq!(found[table.entries() + at], coefficient * z.exp_u64(b as u64));
                }
            }
        }
    }
}
