//! Tensor products of pairs: equality polynomials and powers over a hypercube (`wgsl/eq/*`).
//!
//! Entry `y` of a table over coordinates `x_0, .., x_{n-1}` is `prod_i (bit i of y ? x_i : a(x_i))`, in upstream's order
//! (`evals_eq_hypercube`); `Factors` chooses `a`.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::Challenge,
};

/// The factor of a coordinate `x` where its bit is 0 (where it is 1, the factor is `x`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Factors {
    /// `1 - x`: `eq(x, y)`, upstream's `evals_eq_hypercube`.
    Eq,
    /// `1`: monomials; with `x_i = z^(2^i)` the powers `z^y`.
    Monomial,
}

kernel! {
    /// Both halves of tables.
    struct Split("eq/split.wgsl", workgroup = 64) {
        buffers { read coordinates: EF, write out: EF }
        params { first, low_bits, high_bits, factors, at, len, step }
    }
}

kernel! {
    /// eq over all prefixes or suffixes of a point, in two parts.
    struct Heaps("eq/heaps.wgsl", workgroup = 64) {
        buffers { read coordinates: EF, write heaps: EF }
        params { first, low_vars, high_vars, suffixes }
    }
}

kernel! {
    /// out[at + i] = x^(2^i)
    struct SquaringsKernel("eq/squarings.wgsl", workgroup = 1) {
        buffers { read tape: F, write out: EF }
        params { word, len, at }
    }
}

/// The table of all `2^n` entries for the `n` coordinates in `range`, in upstream's order; for few coordinates, since every entry is a
/// product of `n` factors.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub(crate) fn tensor_table(
    rec: &mut Recorder,
    coordinates: &DeviceBuffer<EF>,
    range: Range<usize>,
    factors: Factors,
) -> Result<DeviceBuffer<EF>> {
    let n = range.len();
    let table = rec.gpu().alloc(1 << n, "eq table")?;
    SplitTables { coordinates, range, low_bits: n, factors, out: &table, at: 0, count: 1, step: 0 }.record(rec);
    Ok(table)
}

/// Entries of both halves of a table over `n` coordinates, see [`SplitTables`].
pub(crate) fn split_len(n: usize, low_bits: usize) -> usize {
    if low_bits == n {
        return 1 << n;
    }
    (1 << low_bits) + (1 << (n - low_bits))
}

/// The halves of tables: `2^low_bits` entries over the first coordinates of `range`, then those over the others
/// when there are others ([`split_len`] entries in all), to `out` from `at` on. Each table's coordinates begin `step` behind those of the one
/// before, and so do its entries behind that one's.
pub(crate) struct SplitTables<'a> {
    pub coordinates: &'a DeviceBuffer<EF>,
    pub range: Range<usize>,
    pub low_bits: usize,
    pub factors: Factors,
    pub out: &'a DeviceBuffer<EF>,
    pub at: usize,
    pub count: usize,
    pub step: usize,
}

impl SplitTables<'_> {
    /// Records it.
    pub(crate) fn record(self, rec: &mut Recorder) {
        let Self { coordinates, range, low_bits, factors, out, at, count, step } = self;
        let n = range.len();
        let len = split_len(n, low_bits);
        assert!(range.end + (count - 1) * step <= coordinates.len(), "coordinates of a table");
        assert!(at + count * len <= out.len(), "halves of a table past the end");
        let kernel = Split {
            coordinates,
            out,
            first: range.start as u32,
            low_bits: low_bits as u32,
            high_bits: (n - low_bits) as u32,
            factors: factors as u32,
            at: at as u32,
            len: len as u32,
            step: step as u32,
        };
        rec.dispatch(&kernel, Grid::threads(len).batched(count));
    }
}

/// Which parts of a point [`EqHeaps`] are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Ends {
    Prefixes,
    Suffixes,
}

/// eq over all prefixes or suffixes of a point of `low_vars + high_vars` coordinates from `first` on, as `wgsl/eq/heaps.wgsl` lays it out.
pub(crate) struct EqHeaps<'a> {
    pub coordinates: &'a DeviceBuffer<EF>,
    pub first: usize,
    pub low_vars: usize,
    pub high_vars: usize,
    pub of: Ends,
}

impl EqHeaps<'_> {
    /// Makes the tables.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(crate) fn record(self, rec: &mut Recorder) -> Result<DeviceBuffer<EF>> {
        let Self { coordinates, first, low_vars, high_vars, of } = self;
        assert!(first + low_vars + high_vars <= coordinates.len(), "a coordinate per dimension");
        let len = (2 << low_vars) + (2 << high_vars);
        let heaps = rec.gpu().alloc(len, "eq tables")?;
        let kernel = Heaps {
            coordinates,
            heaps: &heaps,
            first: first as u32,
            low_vars: low_vars as u32,
            high_vars: high_vars as u32,
            suffixes: of as u32,
        };
        rec.dispatch(&kernel, Grid::threads(len));
        Ok(heaps)
    }
}

/// `x, x^2, x^4, ..` (`len` of them) for a challenge `x`, to `out` from `at` on.
pub(crate) struct Squarings<'a> {
    pub x: &'a Challenge,
    pub len: usize,
    pub out: &'a DeviceBuffer<EF>,
    pub at: usize,
}

impl Squarings<'_> {
    /// Records it.
    pub(crate) fn record(&self, rec: &mut Recorder) {
        let Self { x, len, out, at } = *self;
        assert!(at + len <= out.len(), "squarings past the end");
        let kernel = SquaringsKernel { tape: x.tape(), out, word: x.word(), len: len as u32, at: at as u32 };
        rec.dispatch(&kernel, Grid::workgroups((len > 0) as usize));
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::prover::poly::evals_eq_hypercube;
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::{gpu::testing, kernels::wgsl_constant};

    fn random(rng: &mut StdRng, len: usize) -> Vec<EF> {
        (0..len).map(|_| rng.random()).collect()
    }

    #[test]
    fn tables_match_upstream() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(9);
        for (first, n) in [(0, 0), (2, 1), (0, 2), (3, 5), (1, 10), (0, 11)] {
            let x = random(&mut rng, first + n + 3);
            let coordinates = gpu.upload(&x, "x").unwrap();
            let x = &x[first..first + n];
            let mut rec = gpu.recorder("test");
            let tickets = [Factors::Eq, Factors::Monomial].map(|factors| {
                let table = tensor_table(&mut rec, &coordinates, first..first + n, factors).unwrap();
                rec.download(&table)
            });
            let done = rec.wait().unwrap();
            let [eq, monomial] = tickets.map(|t| done.take(t).unwrap());
            assert_eq!(eq, evals_eq_hypercube(x));
            for (y, found) in monomial.iter().enumerate() {
                let factors = x.iter().enumerate().filter(|(i, _)| (y >> i) & 1 == 1);
                assert_eq!(*found, factors.map(|(_, x)| *x).product::<EF>());
            }
        }
    }

    #[test]
    fn halves_make_up_the_table() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(19);
        for (n, low_bits) in [(1, 0), (2, 1), (7, 3), (13, 6)] {
            let (step, len) = (n + 2, split_len(n, low_bits));
            let x = random(&mut rng, 3 * step);
            let coordinates = gpu.upload(&x, "x").unwrap();
            let out = gpu.alloc(3 + 3 * len, "halves").unwrap();
            let mut rec = gpu.recorder("test");
            let (coordinates, factors) = (&coordinates, Factors::Eq);
            let tables = SplitTables { coordinates, range: 0..n, low_bits, factors, out: &out, at: 3, count: 3, step };
            tables.record(&mut rec);
            let ticket = rec.download(&out);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            for (halves, x) in found[3..].chunks(len).zip(x.chunks(step)) {
                let (low, high) = halves.split_at(1 << low_bits);
                let table: Vec<EF> = high.iter().flat_map(|h| low.iter().map(|l| *h * *l)).collect();
                assert_eq!(table, evals_eq_hypercube(&x[..n]));
            }
        }
    }

    #[test]
    fn factors_have_their_numbers() {
        let constant = |name| wgsl_constant(include_str!("../../wgsl/eq/tensor.wgsl"), name);
        assert_eq!(["EQ", "MONOMIAL"].map(constant), [Factors::Eq, Factors::Monomial].map(|factors| factors as u32));
    }

    #[test]
    fn heaps_have_all_prefixes_or_suffixes() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(20);
        for (first, low_vars, high_vars) in [(0, 0, 0), (1, 0, 1), (3, 1, 0), (0, 2, 3), (4, 6, 5), (2, 7, 8)] {
            let x = random(&mut rng, first + low_vars + high_vars + 2);
            let coordinates = gpu.upload(&x, "x").unwrap();
            for of in [Ends::Prefixes, Ends::Suffixes] {
                let mut rec = gpu.recorder("test");
                let heaps = EqHeaps { coordinates: &coordinates, first, low_vars, high_vars, of };
                let heaps = heaps.record(&mut rec).unwrap();
                let ticket = rec.download(&heaps);
                let found = rec.wait().unwrap().take(ticket).unwrap();
                let parts = [(0, first, low_vars), (2 << low_vars, first + low_vars, high_vars)];
                for (at, begin, vars) in parts {
                    for m in 0..=vars {
                        let start = if of == Ends::Suffixes { begin + vars - m } else { begin };
                        let expected = evals_eq_hypercube(&x[start..start + m]);
                        assert_eq!(found[at + (1 << m)..at + (2 << m)], expected, "{of:?} {m} of {vars}");
                    }
                }
            }
        }
    }

    #[test]
    fn squarings_match_the_host() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(10);
        let tape: Vec<F> = (0..9).map(|_| F::from_u32(rng.random())).collect();
        let device_tape = gpu.upload(&tape, "tape").unwrap();
        let out = gpu.upload(&vec![EF::ONE; 30], "out").unwrap();
        let mut rec = gpu.recorder("test");
        let challenge = Challenge::new(&device_tape, 5);
        Squarings { x: &challenge, len: 0, out: &out, at: 0 }.record(&mut rec);
        Squarings { x: &challenge, len: 27, out: &out, at: 2 }.record(&mut rec);
        let ticket = rec.download(&out);
        let found = rec.wait().unwrap().take(ticket).unwrap();
        let mut x = EF::from_basis_coefficients_slice(&tape[5..]).unwrap();
        for (i, found) in found.into_iter().enumerate() {
            let inside = (2..29).contains(&i);
            assert_eq!(found, if inside { x } else { EF::ONE });
            if inside {
                x = x.square();
            }
        }
    }
}
