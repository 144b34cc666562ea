//! Kernels of the stacked reduction: see `stages/stacked_reduction` for what they add up to.

mod cells;
mod cube;
mod jobs;
mod nodes;
mod round0;

#[cfg(test)]
mod tests;

pub use cells::{CellDots, ColumnRun, Combination, Combinations, LambdaPowers, RowWeights};
pub use cube::{CubeEqTables, CubeRound, CubeTables, CubeWeights};
pub use nodes::{NodeRound, NodeTables, ViewSums};
pub use round0::{
    skip_domain, CombinedPiece, FoldCombined, Point, Polynomial0, RecordSums, Round0Tables, RECORD_ELEMENTS,
};

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::{poseidon2::round_constants, transcript::KernelSponge},
};

kernel! {
    /// A round's evaluations from its partial sums, observed, and the challenge.
    struct RoundStep("stacked_reduction/round_step.wgsl", workgroup = 128) {
        buffers { read partials: EF, write sponge: F, write tape: F, read round_constants: F as vec4<u32> }
        params { count, absorb_index, sample_index, tape_at }
    }
}

/// Words between two challenges of consecutive rounds on the transcript's tape: two evaluations, then the challenge. Kernels rely on it.
pub const ROUND_WORDS: u32 = 12;

/// Workgroups of a sumcheck round at most; each leaves one pair of partial sums.
const ROUND_WORKGROUPS: usize = 1024;

/// Elements of the buffer for the partial sums of a round (those of the cube and those of the nodes).
pub const PARTIAL_ELEMENTS: usize = 4 * ROUND_WORKGROUPS;

/// Observes the sums of the first `count` pairs of `partials` and samples the round's challenge.
///
/// # Errors
///
/// As [`round_constants`].
pub fn round_step(rec: &mut Recorder, partials: &DeviceBuffer<EF>, count: usize, sponge: &KernelSponge) -> Result<()> {
    assert!(2 * count <= partials.len(), "partial sums of a round");
    let kernel = RoundStep {
        partials,
        sponge: &sponge.state,
        tape: &sponge.tape,
        round_constants: &round_constants(rec.gpu())?,
        count: count as u32,
        absorb_index: sponge.absorb_index,
        sample_index: sponge.sample_index,
        tape_at: sponge.tape_at,
    };
    rec.dispatch(&kernel, Grid::workgroups(1));
    Ok(())
}

/// Workgroups for a round over `pairs` pairs.
fn round_workgroups(pairs: usize) -> usize {
    pairs.div_ceil(256).clamp(1, ROUND_WORKGROUPS)
}
