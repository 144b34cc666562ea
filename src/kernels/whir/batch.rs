//! Algebraic batching of stacked columns (`wgsl/whir/batch.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// f[row] += sum_s mu^s q(row, s)
    struct BatchKernel("whir/batch.wgsl", workgroup = 256) {
        buffers { read source: F, read mu: EF, write f: EF }
        params { start, cells, rows, columns, first_row, first_column, log_height, log_stride }
    }
}

/// Cells that one dispatch reads at most: 2^30 field products, some 20 ms on an Apple M1.
const DISPATCH_CELLS: usize = 1 << 28;

/// Rows of a workgroup.
const ROWS: usize = 1024;

/// Consecutive cells of a stacked matrix in column-major order.
pub struct ColumnBlock<'a> {
    /// Cell `first_cell + c` is `source[c >> log_stride]` where `2^log_stride` divides `c`, else zero.
    pub source: &'a DeviceBuffer<F>,
    /// Position of the first cell in the stacked matrix: column times height plus row.
    pub first_cell: usize,
    /// Number of cells.
    pub cells: usize,
    /// Traces lower than `2^l_skip` are strided.
    pub log_stride: usize,
}

/// `f[row] += sum_s mu[first_column + s] q(row, s)` over the cells of a block of the stacked matrix `q`, whose height is `f.len()`.
pub struct ColumnBatch<'a> {
    pub block: &'a ColumnBlock<'a>,
    /// Powers of mu.
    pub mu: &'a DeviceBuffer<EF>,
    /// The power that belongs to column 0 of `q`.
    pub first_column: usize,
    pub f: &'a DeviceBuffer<EF>,
}

impl ColumnBatch<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { block, mu, first_column, f } = *self;
        let height = f.len();
        assert!(height.is_power_of_two(), "stacked height");
        assert!(block.cells.div_ceil(1 << block.log_stride) <= block.source.len(), "cells of a block");
        let last_column = (block.first_cell + block.cells).div_ceil(height);
        assert!(block.cells == 0 || first_column + last_column <= mu.len(), "powers of mu");
        // a dispatch starts at a multiple of every stride
        let step = DISPATCH_CELLS.max(height);
        for start in (0..block.cells).step_by(step) {
            let cells = step.min(block.cells - start);
            let first_cell = block.first_cell + start;
            let (rows, first_row) = (cells.min(height), first_cell % height);
            let kernel = BatchKernel {
                source: block.source,
                mu,
                f,
                start: (start >> block.log_stride) as u32,
                cells: cells as u32,
                rows: rows as u32,
                columns: (first_row + cells).div_ceil(height) as u32,
                first_row: first_row as u32,
                first_column: (first_column + first_cell / height) as u32,
                log_height: height.ilog2(),
                log_stride: block.log_stride as u32,
            };
            rec.dispatch(&kernel, Grid::workgroups(rows.div_ceil(ROWS)));
        }
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn blocks_of_any_shape_add_up() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(12);
        // (log_height, blocks of (cells, log_stride))
        let cases: [(usize, &[(usize, usize)]); 5] = [
            (0, &[(3, 0)]),
            (3, &[(1, 0), (2, 1), (16, 2), (40, 0)]),
            (4, &[(48, 0), (8, 0), (64, 3), (16, 4)]),
            (9, &[(700, 0), (4, 2), (1024, 0), (96, 5)]),
            (10, &[(2048, 0), (256, 0), (256, 4), (7, 0)]),
        ];
        for (log_height, blocks) in cases {
            let height = 1usize << log_height;
            let mut cells = vec![F::from_u32(7); 3];
            let mut mu: Vec<EF> = vec![];
            let f_before: Vec<EF> = (0..height).map(EF::from_usize).collect();
            let f = gpu.upload(&f_before, "f").unwrap();
            let mut inputs = vec![];
            for (count, log_stride) in blocks {
                let source: Vec<F> = (0..count.div_ceil(1 << log_stride)).map(|_| rng.random()).collect();
                inputs.push((gpu.upload(&source, "source").unwrap(), cells.len(), *count, *log_stride));
                let strided =
                    |c: usize| if c.is_multiple_of(1 << log_stride) { source[c >> log_stride] } else { F::ZERO };
                cells.extend((0..*count).map(strided));
            }
            mu.resize_with(2 + cells.len().div_ceil(height), || rng.random());
            let device_mu = gpu.upload(&mu, "mu").unwrap();
            let mut rec = gpu.recorder("test");
            for (source, first_cell, cells, log_stride) in &inputs {
                let block = ColumnBlock { source, first_cell: *first_cell, cells: *cells, log_stride: *log_stride };
                ColumnBatch { block: &block, mu: &device_mu, first_column: 2, f: &f }.record(&mut rec);
            }
            let ticket = rec.download(&f);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            let mut expected = f_before;
            for (c, cell) in cells.iter().enumerate().skip(3) {
                expected[c % height] += mu[2 + c / height] * *cell;
            }
            assert_eq!(found, expected, "height 2^{log_height}");
        }
    }
}
