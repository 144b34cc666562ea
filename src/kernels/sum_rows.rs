//! Sums of rows of extension elements (`wgsl/sum_rows.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use crate::{
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// `out[row] = sum_i values[row * len + i]`
    pub struct SumRowsKernel("sum_rows.wgsl", workgroup = 256) {
        buffers { read values: EF, write out: EF }
        params { rows, len }
    }
}

/// The sum of each of the first `rows` rows of `len` elements in `values`, to `out`.
pub struct SumRows<'a> {
    pub values: &'a DeviceBuffer<EF>,
    pub rows: usize,
    pub len: usize,
    pub out: &'a DeviceBuffer<EF>,
}

impl SumRows<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { values, rows, len, out } = *self;
        assert!(rows * len <= values.len() && rows <= out.len(), "rows to sum");
        let kernel = SumRowsKernel { values, out, rows: rows as u32, len: len as u32 };
        rec.dispatch(&kernel, Grid::workgroups(rows));
    }
}

#[cfg(test)]
mod tests {
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn rows_sum_up() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(11);
        for (rows, len) in [(1, 1), (1, 2), (3, 0), (2, 255), (5, 257), (300, 3), (1, 5001)] {
            let values: Vec<EF> = (0..rows * len).map(|_| rng.random()).collect();
            let buffer = gpu.upload(&values, "values").unwrap();
            let out = gpu.alloc(rows, "out").unwrap();
            let mut rec = gpu.recorder("test");
            SumRows { values: &buffer, rows, len, out: &out }.record(&mut rec);
            let ticket = rec.download(&out);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            let expected: Vec<EF> = (0..rows).map(|r| values[r * len..(r + 1) * len].iter().copied().sum()).collect();
            assert_eq!(found, expected);
        }
    }
}
