//! Poseidon2 as an AIR: its trace out of what is permuted (`wgsl/openvm/poseidon2.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rayon::prelude::*;

use crate::{
    error::Result,
    gpu::{DeviceMatrix, Gpu, Grid, Kernel, KernelDecl},
    kernel,
    kernels::poseidon2::{round_constants, WIDTH},
};

kernel! {
    /// The trace of Poseidon2's AIR.
    struct PermutationRows("openvm/poseidon2.wgsl", workgroup = 256) {
        buffers { read inputs: F as vec4<u32>, read times: u32, constant round_constants: F as RoundConstants, write out: F }
        params { height, first_column, columns, permuted, registers, lookups }
    }
}

/// An input, and how often it is looked up for each of `L` columns.
pub type Request<const L: usize> = ([F; WIDTH], [u32; L]);

/// What a machine permutes.
#[derive(Clone, Debug)]
pub struct Permutations {
    /// Different inputs, in the order of their rows.
    pub inputs: Vec<[F; WIDTH]>,
    /// How often each of them is looked up, for each of the last columns: behind one another for each input.
    pub times: Vec<u32>,
    /// Columns that say so.
    pub lookups: usize,
    /// Cells that an S-box has beside its result: 0, or 1 for its input's cube.
    pub registers: usize,
    /// Rows, those that pad included.
    pub height: usize,
}

impl Permutations {
    /// What makes the trace.
    pub const KERNEL: &'static KernelDecl = PermutationRows::DECL;

    /// A row for each different input of `requests`, in the order of their canonical words; none if there are none.
    pub fn of<const L: usize>(requests: Vec<Request<L>>, registers: usize) -> Self {
        let canonical = |(input, times): Request<L>| (input.map(|word| word.as_canonical_u32()), times);
        let mut requests: Vec<_> = requests.into_par_iter().map(canonical).collect();
        requests.par_sort_unstable();
        requests.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = std::array::from_fn(|i| kept.1[i] + next.1[i]);
            }
            same
        });
        Self {
            height: if requests.is_empty() { 0 } else { requests.len().next_power_of_two() },
            inputs: requests.par_iter().map(|(input, _)| input.map(F::from_u32)).collect(),
            times: requests.iter().flat_map(|(_, times)| *times).collect(),
            lookups: L,
            registers,
        }
    }

    /// Columns: a one and the input, 8 full rounds, 13 partial ones, lookups.
    pub fn width(&self) -> usize {
        1 + WIDTH + (1 + self.registers) * (8 * WIDTH + 13) + self.lookups
    }

    /// The trace.
    ///
    /// What goes wrong is reported by the proof ([`DeviceMatrix::failed`]), since chips have no way to return an error.
    pub fn trace(&self, gpu: &Gpu) -> DeviceMatrix<F> {
        self.fill(gpu).unwrap_or_else(|error| DeviceMatrix::failed(self.height, self.width(), error))
    }

    fn fill(&self, gpu: &Gpu) -> Result<DeviceMatrix<F>> {
        assert!(self.inputs.len() <= self.height, "more inputs than rows");
        assert_eq!(self.times.len(), self.inputs.len() * self.lookups, "counts of lookups");
        let trace = DeviceMatrix::alloc(gpu, self.height, self.width(), "trace")?;
        if self.height == 0 {
            return Ok(trace);
        }
        // a binding is never empty
        let inputs =
            gpu.upload(if self.inputs.is_empty() { &[F::ZERO; WIDTH] } else { self.inputs.as_flattened() }, "inputs")?;
        let times = gpu.upload(if self.times.is_empty() { &[0] } else { &self.times[..] }, "counts of lookups")?;
        let round_constants = round_constants(gpu)?;
        let mut rec = gpu.recorder("trace");
        for segment in trace.segments() {
            let kernel = PermutationRows {
                inputs: &inputs,
                times: &times,
                round_constants: &round_constants,
                out: &segment.buffer,
                height: self.height as u32,
                first_column: segment.columns.start as u32,
                columns: segment.columns.len() as u32,
                permuted: self.inputs.len() as u32,
                registers: self.registers as u32,
                lookups: self.lookups as u32,
            };
            rec.dispatch(&kernel, Grid::threads(self.height));
        }
        rec.submit()?;
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use openvm_poseidon2_air::{Poseidon2Config, Poseidon2SubChip};
    use openvm_stark_backend::{p3_matrix::dense::RowMajorMatrix, prover::ColMajorMatrix};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    /// Upstream's rows, with the lookups behind them.
    fn upstreams<const R: usize>(permutations: &Permutations) -> RowMajorMatrix<F> {
        let chip = Poseidon2SubChip::<F, R>::new(Poseidon2Config::default().constants);
        let mut inputs = permutations.inputs.clone();
        inputs.resize(permutations.height, [F::ZERO; WIDTH]);
        let inner = chip.generate_trace(inputs);
        let mut values = vec![];
        for (number, row) in inner.row_slices().enumerate() {
            values.extend_from_slice(row);
            let times = permutations.times.chunks(permutations.lookups).nth(number);
            values.extend((0..permutations.lookups).map(|i| times.map_or(F::ZERO, |times| F::from_u32(times[i]))));
        }
        RowMajorMatrix::new(values, permutations.width())
    }

    #[test]
    fn permutations_equal_upstreams() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(15);
        for (inputs, height, registers, lookups) in
            [(0, 1, 1, 2), (1, 1, 0, 1), (3, 8, 1, 1), (100, 128, 0, 2), (257, 512, 1, 2), (512, 512, 1, 2)]
        {
            let permutations = Permutations {
                inputs: (0..inputs)
                    .map(|_| std::array::from_fn(|_| F::from_u32(rng.random_range(0..1 << 30))))
                    .collect(),
                times: (0..inputs * lookups).map(|_| rng.random_range(0..1 << 31)).collect(),
                lookups,
                registers,
                height,
            };
            let expected = match registers {
                0 => upstreams::<0>(&permutations),
                _ => upstreams::<1>(&permutations),
            };
            let found = permutations.trace(&gpu).download(&gpu).unwrap();
            assert!(found == ColMajorMatrix::from_row_major(&expected).values, "{inputs} of {height}, {registers}");
        }
    }

    #[test]
    fn requests_of_one_input_share_a_row() {
        let input = |word: u32| [F::from_u32(word); WIDTH];
        let permutations = Permutations::of(vec![(input(7), [1, 0]), (input(2), [0, 3]), (input(7), [4, 1])], 1);
        assert_eq!(permutations.inputs, [input(2), input(7)]);
        assert_eq!(permutations.times, [0, 3, 5, 1]);
        assert_eq!((permutations.height, permutations.lookups, permutations.registers), (2, 2, 1));
    }

    #[test]
    fn nothing_has_no_rows() {
        let gpu = testing::gpu();
        let nothing = Permutations::of::<1>(vec![], 1);
        let trace = nothing.trace(&gpu);
        trace.check().unwrap();
        assert_eq!((trace.height(), trace.width()), (0, nothing.width()));
    }
}
