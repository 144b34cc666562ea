//! The input of the logup GKR: every interaction of every row as a leaf of the fraction tree.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{
    input::{AirInput, RapInput},
    listed_leaves::ListedLeaves,
    listing::Listing,
    scratch::{rows_per_base_tile, Pace, Scratch, TILE_BYTES},
};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Recorder},
    kernels::{
        constraints::{tile_stride, EmitEvaluation},
        gkr::Fractions,
        rap::{place, TileSource, TraceTile},
    },
    stages::{gkr::leaf_bytes, transcript::Challenge, ProofShape},
};

/// What the leaves depend on.
pub(super) struct LeafArgs<'a> {
    /// The AIRs.
    pub input: &'a RapInput<'a>,
    /// Columns that the interactions read, by AIR.
    pub sources: &'a [TileSource],
    /// Programs and constants of all AIRs.
    pub listing: &'a Listing,
    /// The challenge that keeps denominators from zero.
    pub alpha: &'a Challenge,
    /// Powers of the challenge that compresses messages.
    pub beta_powers: &'a DeviceBuffer<EF>,
}

/// Bytes of the leaves and a tile of trace rows, at most.
pub(super) fn peak_bytes(shape: &ProofShape) -> u64 {
    leaf_bytes(shape) + (TILE_BYTES as u64).min(4 * shape.tile_cells())
}

/// Interaction `i` of an AIR on row `r` is the fraction `count / (alpha + message + bus)` at `leaf_offsets[i] + r`, traces lower than the
/// skip domain repeated and their counts divided accordingly; the rest of the tree is `0 / alpha` and not stored.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub(super) fn interaction_leaves(rec: &mut Recorder, args: &LeafArgs<'_>) -> Result<Fractions> {
    let input = args.input;
    let gpu = rec.gpu().clone();
    let leaves = Fractions::alloc_leaves(&gpu, input.l_skip + input.n_logup, input.num_leaves)?;
    let rows = |air: usize| {
        let columns = args.sources[air].columns();
        rows_per_base_tile(&gpu, TILE_BYTES, input.airs[air].height(), (1, columns * size_of::<F>()))
    };
    let listed = ListedLeaves::plan(&gpu, args, |a| rows(a) == input.airs[a].height())?;
    let present = (0..input.airs.len()).filter(|a| input.airs[*a].evaluator.num_interactions() > 0);
    let alone: Vec<_> = present.filter(|a| !listed.has(*a)).collect();
    let needs = alone.iter().map(|&a| args.sources[a].columns() * tile_stride(rows(a))).chain([listed.tile_len()]);
    let scratch = Scratch::new(&gpu, needs.map(|tile_len| (tile_len, 0)))?;
    let mut pace = Pace::default();
    listed.emit(rec, args, &scratch.tile, &leaves, &mut pace)?;
    for a in alone {
        let air = &input.airs[a];
        let offsets = gpu.upload(&input.leaf_offsets[a], "leaf offsets")?;
        let weights = emitted_weights(rec, air, args)?;
        for start in (0..air.height()).step_by(rows(a)) {
            let rows = start..(start + rows(a)).min(air.height());
            let source = &args.sources[a];
            let stride = tile_stride(rows.len());
            TraceTile { source, rows: rows.clone(), tile: &scratch.tile, tile_at: 0, stride }.record(rec);
            let emit = EmitEvaluation {
                tile: &scratch.tile,
                stride,
                rows: rows.len(),
                first_row: rows.start,
                height: air.height(),
                lift: 1 << input.log_lift(air),
                constants: args.listing.constants_of(&gpu, input, a)?,
                weights: &weights,
                offsets: (&input.leaf_offsets[a], &offsets),
                numerators: &leaves.numer,
                denominators: &leaves.denom,
                piece_len: leaves.piece_len(),
            };
            air.evaluator.gkr_input.emit(rec, &emit);
            pace.step(rec, source.columns() * rows.len() * size_of::<F>())?;
        }
    }
    Ok(leaves)
}

/// Powers of beta in the layout of the AIR's messages, then alpha.
fn emitted_weights(rec: &mut Recorder, air: &AirInput<'_>, args: &LeafArgs<'_>) -> Result<DeviceBuffer<EF>> {
    let len = air.evaluator.logup_weights().len();
    let weights = rec.gpu().alloc::<EF>(len + 1, "interaction weights")?;
    air.evaluator.fill_emitted_weights(rec, args.beta_powers, &weights);
    place(rec, args.alpha, (&weights, len));
    Ok(weights)
}
