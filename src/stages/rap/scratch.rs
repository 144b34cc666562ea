//! Memory that tiles take in turn, and when to hand work over.

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::constraints::{tile_stride, DeviceProgram},
    stages::ProofShape,
};

/// Bytes of a tile with its partial sums: a small part of the memory that the traces take.
pub(super) const TILE_BYTES: usize = 256 << 20;

/// The same in round 0: 32,768 evaluations of keccak's 2,859 columns. (An H200 evaluates 65,536 of them in 1.3 ms at once, in 1.9 ms by
/// fours; at this time nothing of the other stages but the traces is in memory.)
pub(super) const ROUND0_TILE_BYTES: usize = 512 << 20;

/// How many of `total` rows, of `bytes_per_row` each in tile and partial sums, a tile takes; at least one.
pub(super) fn rows_per_tile(gpu: &Gpu, total: usize, bytes_per_row: usize) -> usize {
    rows_within(gpu, TILE_BYTES, total, bytes_per_row)
}

/// How many of `total` rows, of `evaluations` each, a tile over F takes, so that it fits `bytes` and a buffer of this device with
/// `bytes_per_evaluation` in tile and partial sums; at least one. Such a tile holds whole blocks of evaluations ([`tile_stride`]).
pub(super) fn rows_per_base_tile(
    gpu: &Gpu,
    bytes: usize,
    total: usize,
    (evaluations, bytes_per_evaluation): (usize, usize),
) -> usize {
    let fit = rows_within(gpu, bytes, usize::MAX, bytes_per_evaluation);
    let whole_blocks = fit - fit % tile_stride(1);
    (whole_blocks / evaluations.max(1)).clamp(1, total.max(1))
}

/// How many of `total` rows, of `bytes_per_row` each, fit `bytes` and a buffer of this device; at least one.
fn rows_within(gpu: &Gpu, bytes: usize, total: usize, bytes_per_row: usize) -> usize {
    let bytes = bytes.min(gpu.capabilities().max_segment_bytes as usize);
    (bytes / bytes_per_row.max(1)).clamp(1, total.max(1))
}

/// Bytes of partial sums that either program needs for `evaluations` rows at `points` points.
pub(super) fn partials_bytes(programs: [&DeviceProgram; 2], evaluations: usize, points: usize) -> usize {
    partials_len(programs, evaluations, points) * size_of::<EF>()
}

/// Elements of partial sums that either program needs for `evaluations` rows at `points` points.
pub(super) fn partials_len(programs: [&DeviceProgram; 2], evaluations: usize, points: usize) -> usize {
    programs.map(|program| program.partials_len(evaluations, points)).into_iter().max().unwrap_or(0)
}

/// Bytes of partial sums of all rows at once, at most: three accumulators for each chunk of a program, of which there is one for some tens
/// of columns, at as many points as the degree.
pub(super) fn all_partials_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    48 * params.max_constraint_degree as u64 * (shape.rows + shape.cells() / 32)
}

/// A tile over the base field and partial sums, shared by all tiles of a recording.
pub(super) struct Scratch {
    /// The tile.
    pub tile: DeviceBuffer<F>,
    /// The partial sums.
    pub partials: DeviceBuffer<EF>,
}

impl Scratch {
    /// Room for the largest of the `(tile words, partial sums)` that are needed.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn new(gpu: &Gpu, needs: impl Iterator<Item = (usize, usize)>) -> Result<Self> {
        let (tile, partials) = needs.fold((0, 0), |most, need| (most.0.max(need.0), most.1.max(need.1)));
        Ok(Self { tile: gpu.alloc(tile, "tile")?, partials: gpu.alloc(partials, "partial sums")? })
    }
}

/// Submits a recording whenever about a tile's worth of work has come together, so that the device starts early and no submission
/// runs for seconds.
#[derive(Default)]
pub(super) struct Pace {
    bytes: usize,
}

impl Pace {
    /// Notes that a tile of `bytes` was recorded.
    ///
    /// # Errors
    ///
    /// As [`Recorder::submit`].
    pub(super) fn step(&mut self, rec: &mut Recorder, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        if self.bytes >= TILE_BYTES / 2 {
            self.bytes = 0;
            rec.submit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    #[test]
    fn tiles_fit_a_buffer() {
        let gpu = testing::gpu();
        let limit = (gpu.capabilities().max_segment_bytes as usize).min(ROUND0_TILE_BYTES);
        for columns in (1..3000).step_by(7) {
            for evaluations in [1, 7, 16, 48, 1536] {
                let row = (evaluations, 4 * columns);
                let rows = rows_per_base_tile(&gpu, ROUND0_TILE_BYTES, 1 << 22, row);
                let tile = 4 * columns * tile_stride(rows * evaluations);
                assert!(tile <= limit || rows == 1, "{columns} columns, {rows} rows of {evaluations} evaluations");
                let more = 4 * columns * tile_stride((rows + 1) * evaluations);
                assert!(more > limit || rows == 1 << 22, "{columns} columns, {rows} rows of {evaluations} evaluations");
            }
        }
    }
}
