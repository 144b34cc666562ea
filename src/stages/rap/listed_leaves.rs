//! The leaves of the AIRs whose traces are tiles of one buffer, so that one dispatch emits all of their fractions.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{
    leaves::LeafArgs,
    scratch::{Pace, TILE_BYTES},
};
use crate::{
    constraints::LogupWeights,
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{fill_logup_weights, tile_stride, EmitJob, EmitList, EmitTables, LogupWeightsFill},
        gkr::Fractions,
        rap::{place, PlacedTile, TraceTiles},
    },
};

/// AIRs in batches, as many as a tile holds.
pub(super) struct ListedLeaves {
    batches: Vec<(Batch, EmitList)>,
    /// Weights of all AIRs: their layout, one behind the other.
    weights: LogupWeights,
}

#[derive(Default)]
struct Batch {
    /// AIR and first word of its tile.
    tiles: Vec<(usize, usize)>,
    tile_len: usize,
}

impl ListedLeaves {
    /// Chooses the AIRs, of those that `fit` a tile as a whole, and uploads their lists.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn plan(gpu: &Gpu, args: &LeafArgs<'_>, fit: impl Fn(usize) -> bool) -> Result<Self> {
        let airs = &args.input.airs;
        let most = TILE_BYTES.min(gpu.capabilities().max_segment_bytes as usize) / size_of::<F>();
        let mut batches: Vec<Batch> = vec![];
        for (a, air) in airs.iter().enumerate() {
            let evaluator = air.evaluator;
            let listable = args.listing.air(a).gkr_input.is_some() && evaluator.num_interactions() > 0 && fit(a);
            if !listable || evaluator.gkr_input.prefers_kernels(gpu, air.height()) {
                continue;
            }
            let len = tile_len(args, a);
            let fits = |batch: &Batch| batch.tile_len + len <= most;
            if !batches.last().is_some_and(fits) {
                batches.push(Batch::default());
            }
            let batch = batches.last_mut().expect("just pushed");
            batch.tiles.push((a, batch.tile_len));
            batch.tile_len += len;
        }
        let layouts = || airs.iter().map(|air| air.evaluator.logup_weights());
        let weights_at = starts(layouts().map(LogupWeights::len));
        let offsets_at = starts(args.input.leaf_offsets.iter().map(Vec::len));
        let list = |batch: Batch| {
            let jobs = batch.tiles.iter().map(|&(a, tile_at)| job(args, a, tile_at, weights_at[a], offsets_at[a]));
            let list = EmitList::new(gpu, &jobs.collect::<Vec<_>>())?;
            Ok((batch, list))
        };
        let batches = batches.into_iter().map(list).collect::<Result<_>>()?;
        Ok(Self { batches, weights: LogupWeights::joined(layouts()) })
    }

    /// Whether an AIR is among them.
    pub(super) fn has(&self, air: usize) -> bool {
        self.batches.iter().flat_map(|(batch, _)| &batch.tiles).any(|(a, _)| *a == air)
    }

    /// Words of the largest batch's tiles.
    pub(super) fn tile_len(&self) -> usize {
        self.batches.iter().map(|(batch, _)| batch.tile_len).max().unwrap_or(0)
    }

    /// Writes the fractions of all of them.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn emit(
        &self,
        rec: &mut Recorder,
        args: &LeafArgs<'_>,
        tile: &DeviceBuffer<F>,
        leaves: &Fractions,
        pace: &mut Pace,
    ) -> Result<()> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let weights = self.fill_weights(rec, args)?;
        let offsets = rec.gpu().upload(&args.input.leaf_offsets.concat(), "leaf offsets")?;
        let tables = EmitTables {
            constants: args.listing.constants(),
            weights: &weights,
            alpha: self.weights.len(),
            offsets: &offsets,
            records: args.listing.records(),
        };
        for (batch, list) in &self.batches {
            let placed = |&(a, tile_at): &(usize, usize)| {
                let stride = tile_stride(args.input.airs[a].height());
                PlacedTile { source: &args.sources[a], tile_at, stride, cosets: 0 }
            };
            let tiles = &batch.tiles.iter().map(placed).collect::<Vec<_>>();
            TraceTiles { tiles, tile }.record(rec)?;
            list.emit(rec, tile, tables, leaves);
            pace.step(rec, batch.tile_len * size_of::<F>())?;
        }
        Ok(())
    }

    /// Powers of beta in the layout of all AIRs' messages, then alpha.
    fn fill_weights(&self, rec: &mut Recorder, args: &LeafArgs<'_>) -> Result<DeviceBuffer<EF>> {
        let (layout, len) = (&self.weights, self.weights.len());
        let entries = rec.gpu().upload(layout.entries().as_flattened(), "interaction weights")?;
        let weights = rec.gpu().alloc::<EF>(len + 1, "interaction weights")?;
        let fill = LogupWeightsFill {
            layout,
            entries: &entries,
            beta_powers: args.beta_powers,
            eq_3b: None,
            weights: &weights,
        };
        fill_logup_weights(rec, &fill);
        place(rec, args.alpha, (&weights, len));
        Ok(weights)
    }
}

fn tile_len(args: &LeafArgs<'_>, air: usize) -> usize {
    args.sources[air].columns() * tile_stride(args.input.airs[air].height())
}

/// Where each of several parts of these lengths begins.
fn starts(lens: impl Iterator<Item = usize>) -> Vec<usize> {
    lens.scan(0, |at, len| Some(std::mem::replace(at, *at + len))).collect()
}

fn job<'a>(args: &LeafArgs<'a>, a: usize, tile_at: usize, weights_at: usize, offsets_at: usize) -> EmitJob<'a> {
    let (input, air) = (args.input, &args.input.airs[a]);
    EmitJob {
        form: args.listing.air(a).gkr_input.as_ref().expect("chosen for its program"),
        constants_at: args.listing.constants_at(a),
        weights_at,
        tile_at,
        columns: args.sources[a].columns(),
        offsets: &input.leaf_offsets[a],
        offsets_at,
        height: air.height(),
        lift: 1 << input.log_lift(air),
    }
}
