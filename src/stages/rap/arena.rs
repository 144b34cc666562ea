//! Arenas: the folded columns of many AIRs in one buffer, so that an MLE round evaluates and folds all of them at once.
//!
//! AIRs lie by descending height, each with its columns one after the other, so every column begins at a multiple of its length. Folding takes
//! elements 2 e and 2 e + 1 to element e, whichever AIR they belong to: what lies at `at` lies at `at >> g` after `g` folds. Two buffers
//! take turns. AIRs that have shrunk to a row are behind those that have not, and later folds write only what lies before them, so their
//! row stays where it is.

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{input::RapInput, listing::Listing, round0::Weights};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{can_list, Job, RowKind},
        rap::{fold_tile, MleFold, PlacedTile, PleFolds, TileSource},
    },
    stages::transcript::Challenge,
};

/// Bytes of an arena: half of a tile. AIRs that do not fit join another when they have shrunk.
const ARENA_BYTES: usize = 128 << 20;

/// One AIR of an arena.
struct Member {
    air: usize,
    /// First element, when the arena begins.
    at: usize,
    /// Variables that are left then.
    log_rows: usize,
}

/// AIRs of an arena, by descending height.
pub(super) struct ArenaPlan {
    members: Vec<Member>,
    /// Rounds that are over when the arena begins.
    joins: usize,
    len: usize,
}

impl ArenaPlan {
    fn new(airs: Vec<usize>, joins: usize, shape: impl Fn(usize) -> (usize, usize)) -> Self {
        let (mut members, mut len) = (vec![], 0);
        for air in airs {
            let (columns, n_lift) = shape(air);
            members.push(Member { air, at: len, log_rows: n_lift - joins });
            len += columns << (n_lift - joins);
        }
        Self { members, joins, len }
    }

    /// Rounds that are over when the arena begins.
    pub(super) fn joins(&self) -> usize {
        self.joins
    }

    /// Its AIRs.
    pub(super) fn airs(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().map(|member| member.air)
    }

    /// The jobs of a round; `sums_offset` is where the round's sums begin.
    pub(super) fn jobs<'a>(
        &self,
        gpu: &Gpu,
        (input, listing, weights): (&RapInput<'_>, &'a Listing, &Weights),
        round: usize,
        sums_offset: usize,
    ) -> Vec<Job<'a>> {
        let (folds, degree) = (round - 1 - self.joins, input.max_constraint_degree);
        let mut jobs = vec![];
        for member in self.members.iter().filter(|member| member.log_rows >= folds) {
            let left = member.log_rows - folds;
            let (rows, level) = if left == 0 { (1, 0) } else { (1 << (left - 1), left - 1) };
            let (air, n_lift) = (listing.air(member.air), input.n_lift(&input.airs[member.air]));
            let sums_at = sums_offset + 3 * member.air * degree;
            for (program, lambda, sums_at) in
                [(&air.mle_logup, false, sums_at), (&air.mle_zerocheck, true, sums_at + 2 * degree)]
            {
                if program.is_empty() {
                    continue;
                }
                jobs.push(Job {
                    form: program.form(gpu, rows * degree),
                    lambda,
                    rows,
                    points: degree,
                    last: left == 0,
                    constants_at: listing.constants_at(member.air),
                    weights_at: weights.logup_at[member.air],
                    tile_at: member.at >> folds,
                    stride: 1 << left,
                    eq_at: weights.eq_xi[&n_lift].level(level),
                    sums_at,
                });
            }
        }
        jobs
    }

    /// The arena with undefined contents.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn begin(self, gpu: &Gpu) -> Result<Arena> {
        let (first, second) = (gpu.alloc(self.len, "folded columns")?, gpu.alloc(self.len / 2, "folded columns")?);
        Ok(Arena { plan: self, buffers: [first, second] })
    }
}

/// Which AIRs lie in arenas: what fits one from the start, smallest first, and the others together from the round on in which they fit
/// another. AIRs whose rounds generated kernels evaluate faster join when they have shrunk.
pub(super) fn plan_arenas(
    gpu: &Gpu,
    (input, listing): (&RapInput<'_>, &Listing),
    columns: impl Fn(usize) -> usize,
) -> Vec<ArenaPlan> {
    let degree = input.max_constraint_degree;
    if !can_list(RowKind::Lines, degree) {
        return vec![];
    }
    let most = ARENA_BYTES.min(gpu.capabilities().max_segment_bytes as usize) / size_of::<EF>();
    let shape = |a: usize| (columns(a), input.n_lift(&input.airs[a]));
    let len = |a: usize, joins: usize| shape(a).0 << (shape(a).1 - joins);
    let kernels = |a: usize, joins: usize| {
        let evaluations = degree << (shape(a).1 - joins) >> 1;
        let evaluator = input.airs[a].evaluator;
        [&evaluator.mle_zerocheck, &evaluator.mle_logup].into_iter().any(|p| p.prefers_kernels(gpu, evaluations))
    };
    let listable = |a: &usize| listing.air(*a).is_listable();
    let (mut low, mut high): (Vec<_>, Vec<_>) =
        (0..input.airs.len()).filter(listable).partition(|&a| len(a, 0) <= most && !kernels(a, 0));
    low.sort_by_key(|&a| len(a, 0));
    let mut left = most;
    let fit = low.iter().take_while(|&&a| {
        let fits = len(a, 0) <= left;
        left = left.saturating_sub(len(a, 0));
        fits
    });
    high.extend(low.split_off(fit.count()));
    // by descending height again
    low.sort_unstable();
    high.sort_unstable();
    let mut plans = vec![ArenaPlan::new(low, 0, shape)];
    for joins in 1..input.n_max {
        let tall = || high.iter().copied().filter(|&a| shape(a).1 >= joins);
        if tall().map(|a| len(a, joins)).sum::<usize>() <= most && !tall().any(|a| kernels(a, joins)) {
            plans.push(ArenaPlan::new(tall().collect(), joins, shape));
            break;
        }
    }
    plans.retain(|plan| !plan.members.is_empty());
    plans
}

/// The columns of an arena's AIRs.
pub(super) struct Arena {
    plan: ArenaPlan,
    buffers: [DeviceBuffer<EF>; 2],
}

impl Arena {
    /// Its AIRs.
    pub(super) fn plan(&self) -> &ArenaPlan {
        &self.plan
    }

    /// The columns in a round.
    pub(super) fn columns(&self, round: usize) -> &DeviceBuffer<EF> {
        &self.buffers[(round - 1 - self.plan.joins) & 1]
    }

    /// Fills an arena that begins before the first round: columns with the univariate variable folded.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn fold_ple(
        &self,
        rec: &mut Recorder,
        sources: &[TileSource],
        l_skip: usize,
        lagrange: &DeviceBuffer<EF>,
    ) -> Result<()> {
        let placed = |member: &Member| {
            let (source, stride) = (&sources[member.air], 1 << member.log_rows);
            PlacedTile { source, tile_at: member.at, stride, cosets: 0 }
        };
        let tiles = &self.plan.members.iter().map(placed).collect::<Vec<_>>();
        PleFolds { tiles, l_skip, lagrange, tile: &self.buffers[0] }.record(rec)
    }

    /// Where the columns of an AIR begin when the arena begins.
    ///
    /// # Panics
    ///
    /// When the AIR is not in it.
    pub(super) fn place(&self, air: usize) -> (&DeviceBuffer<EF>, usize) {
        let member = self.plan.members.iter().find(|member| member.air == air).expect("an AIR of the arena");
        (&self.buffers[0], member.at)
    }

    /// Folds the variable of a round; returns the bytes that were read.
    pub(super) fn fold(&self, rec: &mut Recorder, (round, r): (usize, &Challenge)) -> usize {
        let folds = round - 1 - self.plan.joins;
        // the first AIR of one row, or what was left there when it shrank
        let end = self.plan.members.iter().find(|member| member.log_rows <= folds).map_or(self.plan.len, |m| m.at);
        let len = end >> folds;
        if len == 0 {
            return 0;
        }
        let (source, folded) = (&self.buffers[folds & 1], &self.buffers[(folds + 1) & 1]);
        let half = len / 2;
        let fold = MleFold {
            columns: 1,
            source_rows: len,
            source,
            r,
            folded,
            folded_at: 0,
            folded_rows: 0..half,
            folded_stride: half,
        };
        fold_tile(rec, &fold);
        len * size_of::<EF>()
    }

    /// The row to which an AIR has shrunk, if it is in this arena: a column an element, from one on.
    pub(super) fn last_row(&self, air: usize) -> Option<(&DeviceBuffer<EF>, usize)> {
        let member = self.plan.members.iter().find(|member| member.air == air)?;
        Some((&self.buffers[member.log_rows & 1], member.at >> member.log_rows))
    }
}
