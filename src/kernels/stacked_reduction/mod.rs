//! Kernels of the stacked reduction: see [`crate::stages::stacked_reduction`] for what they add up to.

mod cells;
mod cube;
mod nodes;
mod round0;

#[cfg(test)]
mod tests;

pub use cells::{CellDots, ColumnRun, LambdaPowers, RowWeights};
pub use cube::{CubeRound, CubeTables, EqTables};
pub use nodes::{NodeRound, NodeTables, ViewSums};
pub use round0::{skip_domain, CombinedPiece, Point, Round0, RECORD_ELEMENTS};

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use crate::{
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// A round's evaluations from its partial sums.
    struct SumPartials("stacked_reduction/sum_partials.wgsl", workgroup = 256) {
        buffers { read partials: EF, write out: EF }
        params { count, out_at }
    }
}

/// Words between two challenges of consecutive rounds in the transcript's log: two evaluations, then the challenge. Kernels rely on it.
pub const ROUND_WORDS: u32 = 12;

/// Workgroups of a sumcheck round at most; each leaves one pair of partial sums.
const ROUND_WORKGROUPS: usize = 1024;

/// Elements of the buffer for the partial sums of a round (those of the cube and those of the nodes).
pub const PARTIAL_ELEMENTS: usize = 4 * ROUND_WORKGROUPS;

/// `out[out_at], out[out_at + 1]` = the sums of the first `count` pairs of `partials`.
pub fn sum_partials(
    rec: &mut Recorder,
    partials: &DeviceBuffer<EF>,
    count: usize,
    (out, out_at): (&DeviceBuffer<EF>, usize),
) {
    assert!(2 * count <= partials.len() && out_at + 2 <= out.len(), "partial sums of a round");
    rec.dispatch(&SumPartials { partials, out, count: count as u32, out_at: out_at as u32 }, Grid::workgroups(1));
}

/// Workgroups for a round over `pairs` pairs.
fn round_workgroups(pairs: usize) -> usize {
    pairs.div_ceil(256).clamp(1, ROUND_WORKGROUPS)
}
