//! Round 0 of the AIRs whose tiles lie in one buffer, so that one dispatch evaluates all of them.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{
    input::RapInput,
    listing::Listing,
    round0::{CosetTiling, Weights},
    scratch::{Pace, ROUND0_TILE_BYTES},
};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{can_list, tile_stride, DeviceLists, Job, ListTables, RowKind, WorkList, WorkLists},
        rap::{CosetTiles, PlacedTile, TileSource},
    },
};

/// Cost of an AIR's evaluations (rows times instructions) from which on its tiles are evaluated by themselves.
const MAX_AIR_COST: usize = 1 << 28;

/// The same for a batch of AIRs: their partial sums stay below 64 MiB.
const MAX_BATCH_COST: usize = 1 << 31;

/// AIRs in batches, as many as a tile holds and partial sums of bounded size belong to.
pub(super) struct ListedRound0 {
    batches: Vec<(Batch, WorkList)>,
    lists: DeviceLists,
}

#[derive(Default)]
struct Batch {
    /// AIR and first word of its tile.
    tiles: Vec<(usize, usize)>,
    tile_len: usize,
    cost: usize,
}

/// Rows and cost of an AIR that a list evaluates; `None` for one that is large, or faster by generated kernels.
fn cost(gpu: &Gpu, (input, listing): (&RapInput<'_>, &Listing), a: usize, shape: &CosetTiling) -> Option<usize> {
    let (air, listed) = (&input.airs[a], listing.air(a));
    let xs = 1 << input.n_lift(air);
    if shape.points == 0 || shape.xs < xs || !listed.is_listable() || !can_list(RowKind::Points, shape.points) {
        return None;
    }
    let evaluations = shape.points * xs;
    let cost = evaluations * (listed.round0_zerocheck.cost() + listed.round0_logup.cost());
    let programs = [&air.evaluator.round0_zerocheck, &air.evaluator.round0_logup];
    let alone = cost > MAX_AIR_COST || programs.into_iter().any(|p| p.prefers_kernels(gpu, evaluations));
    (!alone).then_some(cost)
}

impl ListedRound0 {
    /// Chooses the AIRs and uploads their lists; `offsets` is where the sums of each AIR begin.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn plan(
        gpu: &Gpu,
        (input, listing, weights): (&RapInput<'_>, &Listing, &Weights),
        shapes: &[CosetTiling],
        offsets: &[usize],
    ) -> Result<Self> {
        let most = ROUND0_TILE_BYTES.min(gpu.capabilities().max_segment_bytes as usize) / size_of::<F>();
        let mut batches: Vec<Batch> = vec![];
        for (a, shape) in shapes.iter().enumerate() {
            let Some(cost) = cost(gpu, (input, listing), a, shape) else { continue };
            let fits = |batch: &Batch| batch.tile_len + shape.tile_len <= most && batch.cost + cost <= MAX_BATCH_COST;
            if !batches.last().is_some_and(fits) {
                batches.push(Batch::default());
            }
            let batch = batches.last_mut().expect("just pushed");
            batch.tiles.push((a, batch.tile_len));
            batch.tile_len += shape.tile_len;
            batch.cost += cost;
        }
        let mut lists = WorkLists::default();
        let list = |batch: Batch| {
            let jobs = |&(a, tile_at): &(usize, usize)| {
                jobs(gpu, (input, listing, weights), (a, &shapes[a]), tile_at, offsets[a])
            };
            let jobs: Vec<_> = batch.tiles.iter().flat_map(jobs).collect();
            let list = lists.add(RowKind::Points, &jobs);
            (batch, list)
        };
        let batches = batches.into_iter().map(list).collect();
        Ok(Self { batches, lists: lists.finish(gpu)? })
    }

    /// Whether an AIR is among them.
    pub(super) fn has(&self, air: usize) -> bool {
        self.batches.iter().flat_map(|(batch, _)| &batch.tiles).any(|(a, _)| *a == air)
    }

    /// Words of the largest batch's tiles.
    pub(super) fn tile_len(&self) -> usize {
        self.batches.iter().map(|(batch, _)| batch.tile_len).max().unwrap_or(0)
    }

    /// Evaluates all and stores their sums.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn add(
        &self,
        rec: &mut Recorder,
        (input, sources): (&RapInput<'_>, &[TileSource]),
        tables: ListTables<'_>,
        (tile, sums): (&DeviceBuffer<F>, &DeviceBuffer<EF>),
        pace: &mut Pace,
    ) -> Result<()> {
        for (batch, list) in &self.batches {
            let l_skip = input.l_skip;
            let placed = |&(a, tile_at): &(usize, usize)| {
                let (air, source) = (&input.airs[a], &sources[a]);
                let (cosets, n_lift) = (air.cosets(), input.n_lift(air));
                PlacedTile { source, tile_at, stride: tile_stride(cosets << (n_lift + l_skip)), cosets }
            };
            let tiles = &batch.tiles.iter().map(placed).collect::<Vec<_>>();
            CosetTiles { tiles, l_skip, tile }.record(rec)?;
            self.lists.points(rec, list, tile, tables, sums);
            pace.step(rec, batch.tile_len * size_of::<F>())?;
        }
        Ok(())
    }
}

fn jobs<'a>(
    gpu: &Gpu,
    (input, listing, weights): (&RapInput<'_>, &'a Listing, &Weights),
    (a, shape): (usize, &CosetTiling),
    tile_at: usize,
    sums_at: usize,
) -> Vec<Job<'a>> {
    let (air, listed) = (&input.airs[a], listing.air(a));
    let n_lift = input.n_lift(air);
    let logup = (air.logup_cosets > 0).then_some((&listed.round0_logup, false, sums_at));
    let zerocheck = (air.zerocheck_cosets > 0).then_some((&listed.round0_zerocheck, true, sums_at + 2 * shape.points));
    let programs = logup.into_iter().chain(zerocheck).filter(|(program, ..)| !program.is_empty());
    let job = |(program, lambda, sums_at): (&'a crate::kernels::constraints::ListedProgram, bool, usize)| Job {
        form: program.form(gpu, shape.points << n_lift),
        lambda,
        rows: 1 << n_lift,
        points: shape.points,
        last: false,
        constants_at: listing.constants_at(a),
        weights_at: weights.logup_at[a],
        tile_at,
        stride: listed_columns(air),
        eq_at: weights.eq_xi[&n_lift].level(n_lift),
        sums_at,
    };
    programs.map(job).collect()
}

fn listed_columns(air: &super::input::AirInput<'_>) -> usize {
    air.evaluator.round0_layout().num_columns()
}
