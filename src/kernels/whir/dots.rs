//! Inner products of a polynomial's residue classes with product weights (`wgsl/whir/{dots,out_of_domain}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::{
        eq::{split_len, Factors, SplitTables},
        sum_rows::SumRows,
        transcript::Challenge,
    },
};

kernel! {
    /// partials[t][b][y_high] = sum_{y_low} f[2^k y + b] e_t[y]
    struct Dots("whir/dots.wgsl", workgroup = 256) {
        buffers { read f: EF, read halves: EF, write partials: EF }
        params { chunks, chunk_bits, k, halves_len }
    }
}

kernel! {
    /// value = sum_b z^b dots[at + b]
    struct OutOfDomainKernel("whir/out_of_domain.wgsl", workgroup = 1) {
        buffers { read tape: F, read dots: EF, write value: EF }
        params { word, at, len }
    }
}

/// log2 of the entries of `f` that a workgroup takes: 16 a thread, so that its reduction is a small part of the work.
const CHUNK_BITS: usize = 12;

/// A weight `e[y] = prod_i (bit i of y ? x_i : a(x_i))`, `x_i` the coordinates from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct ProductWeight {
    pub first: usize,
    pub factors: Factors,
}

/// `dots[t][b] = sum_y f[2^k y + b] e_t[y]` for each of the weights `e_t` and `b < 2^k`.
pub struct ResidueDots<'a> {
    pub f: &'a DeviceBuffer<EF>,
    pub k: usize,
    pub coordinates: &'a DeviceBuffer<EF>,
    pub weights: &'a [ProductWeight],
}

impl ResidueDots<'_> {
    /// Returns `dots`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn record(&self, rec: &mut Recorder) -> Result<DeviceBuffer<EF>> {
        let Self { f, k, coordinates, weights } = *self;
        let m = f.len().ilog2() as usize;
        assert!(f.len().is_power_of_two() && k <= m && k <= 8, "residue classes modulo 2^{k} of 2^{m} entries");
        let chunk_bits = m.min(CHUNK_BITS);
        let (n, low_bits, chunks) = (m - k, chunk_bits - k, 1 << (m - chunk_bits));
        let halves_len = split_len(n, low_bits);
        let halves = rec.gpu().alloc(weights.len() * halves_len, "product weights")?;
        let (mut at, out) = (0, &halves);
        for ProductWeights { first, step, factors, count } in alike(weights) {
            let range = first..first + n;
            SplitTables { coordinates, range, low_bits, factors, out, at, count, step }.record(rec);
            at += count * halves_len;
        }
        let rows = weights.len() << k;
        let partials = rec.gpu().alloc(rows * chunks, "partial inner products")?;
        let kernel = Dots {
            f,
            halves: &halves,
            partials: &partials,
            chunks: chunks as u32,
            chunk_bits: chunk_bits as u32,
            k: k as u32,
            halves_len: halves_len as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(chunks).batched(weights.len()));
        if chunks == 1 {
            return Ok(partials);
        }
        let dots = rec.gpu().alloc(rows, "inner products")?;
        SumRows { values: &partials, rows, len: chunks, out: &dots }.record(rec);
        Ok(dots)
    }
}

/// Weights one after the other whose coordinates begin at regular distances.
struct ProductWeights {
    first: usize,
    step: usize,
    factors: Factors,
    count: usize,
}

fn alike(weights: &[ProductWeight]) -> Vec<ProductWeights> {
    let mut runs: Vec<ProductWeights> = vec![];
    for &ProductWeight { first, factors } in weights {
        match runs.last_mut() {
            Some(run) if run.factors == factors && run.count == 1 && first >= run.first => {
                (run.step, run.count) = (first - run.first, 2);
            }
            Some(run) if run.factors == factors && first == run.first + run.count * run.step => run.count += 1,
            _ => runs.push(ProductWeights { first, step: 0, factors, count: 1 }),
        }
    }
    runs
}

/// `sum_{b < len} z^b dots[at + b]` for a challenge `z`: with the inner products of pow(z^len), the value at z.
pub struct OutOfDomain<'a> {
    pub z: &'a Challenge,
    pub dots: &'a DeviceBuffer<EF>,
    pub at: usize,
    pub len: usize,
}

impl OutOfDomain<'_> {
    /// Returns the value.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn record(&self, rec: &mut Recorder) -> Result<DeviceBuffer<EF>> {
        let Self { z, dots, at, len } = *self;
        assert!(at + len <= dots.len(), "inner products of a point");
        let value = rec.gpu().alloc(1, "out-of-domain value")?;
        let (at, len) = (at as u32, len as u32);
        let kernel = OutOfDomainKernel { tape: z.tape(), dots, value: &value, word: z.word(), at, len };
        rec.dispatch(&kernel, Grid::workgroups(1));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    fn weight(factors: Factors, x: &[EF], y: usize) -> EF {
        let zero = |x: EF| match factors {
            Factors::Eq => EF::ONE - x,
            Factors::Monomial => EF::ONE,
        };
        x.iter().enumerate().map(|(i, x)| if (y >> i) & 1 == 1 { *x } else { zero(*x) }).product()
    }

    #[test]
    fn inner_products_match_the_formula() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(13);
        let mut random = |len: usize| -> Vec<EF> { (0..len).map(|_| rng.random()).collect() };
        for (m, k) in [(1, 1), (3, 3), (5, 2), (9, 8), (12, 4), (13, 1), (14, 4), (15, 3)] {
            let (f, x) = (random(1 << m), random(2 * m + 5));
            let weights = [(0, Factors::Monomial), (m + 1, Factors::Eq), (3, Factors::Eq)]
                .map(|(first, factors)| ProductWeight { first, factors });
            let (device_f, device_x) = (gpu.upload(&f, "f").unwrap(), gpu.upload(&x, "x").unwrap());
            let tape: Vec<F> = (0..9).map(F::from_u32).collect();
            let device_tape = gpu.upload(&tape, "tape").unwrap();
            let mut rec = gpu.recorder("test");
            let dots = ResidueDots { f: &device_f, k, coordinates: &device_x, weights: &weights };
            let dots = dots.record(&mut rec).unwrap();
            let z = Challenge::new(&device_tape, 3);
            let value = OutOfDomain { z: &z, dots: &dots, at: 2 << k, len: 1 << k }.record(&mut rec).unwrap();
            let tickets = (rec.download(&dots), rec.download(&value));
            let done = rec.wait().unwrap();
            let (dots, value) = (done.take(tickets.0).unwrap(), done.take(tickets.1).unwrap());
            for (t, w) in weights.iter().enumerate() {
                let table: Vec<EF> =
                    (0..1 << (m - k)).map(|y| weight(w.factors, &x[w.first..w.first + m - k], y)).collect();
                for b in 0..1 << k {
                    let expected: EF = (0..1 << (m - k)).map(|y| f[(y << k) + b] * table[y]).sum();
                    assert_eq!(dots[(t << k) + b], expected, "m {m}, k {k}, weight {t}, class {b}");
                }
            }
            let z = EF::from_basis_coefficients_slice(&tape[3..7]).unwrap();
            let expected: EF = z.powers().zip(&dots[2 << k..]).map(|(z, dot)| z * *dot).sum();
            assert_eq!(value, [expected]);
        }
    }
}
