//! The MLE rounds: constraints and interactions over the extension on the columns folded so far, one variable a round.

use std::ops::Range;

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{
    arena::{plan_arenas, Arena, ArenaPlan},
    input::RapInput,
    listing::Listing,
    round0::{eq_bytes, Weights},
    scratch::{all_partials_bytes, partials_bytes, partials_len, rows_per_tile, Pace, TILE_BYTES},
};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{AirEvaluator, DeviceLists, RowKind, SumEvaluation, WorkList, WorkLists},
        rap::{fold_tile, BatchRound, Lifts, MleFold, PleFold, RoundState, TileSource},
    },
    stages::{
        transcript::{Challenge, KernelStep, Observed, Transcript},
        ProofShape,
    },
};

/// Bytes that the MLE rounds hold at most: trees of `eq`, all columns over the extension, 1.5 times while they are folded, and partial
/// sums.
pub(super) fn peak_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    let columns = (16 * shape.tile_cells()) >> params.l_skip;
    let partials = all_partials_bytes(params, shape) >> params.l_skip;
    eq_bytes(params) + columns / 2 * 3 + (TILE_BYTES as u64).min(partials)
}

/// The columns of one AIR over the extension, `2^log_rows` rows in blocks of `2^log_block`, each column-major.
pub(super) struct MleTile {
    columns: usize,
    log_rows: usize,
    log_block: usize,
    blocks: Vec<DeviceBuffer<EF>>,
}

impl MleTile {
    fn alloc(gpu: &Gpu, columns: usize, log_rows: usize, log_block: usize) -> Result<Self> {
        let log_block = log_block.min(log_rows);
        let block = |_| gpu.alloc(columns << log_block, "folded columns");
        let blocks = (0..1 << (log_rows - log_block)).map(block).collect::<Result<_>>()?;
        Ok(Self { columns, log_rows, log_block, blocks })
    }

    /// The columns of `source` with the univariate variable folded.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn fold_ple(
        rec: &mut Recorder,
        (source, evaluator): (&TileSource, &AirEvaluator),
        (l_skip, n_lift): (usize, usize),
        lagrange: &DeviceBuffer<EF>,
        degree: usize,
    ) -> Result<Self> {
        let gpu = rec.gpu().clone();
        let programs = [&evaluator.mle_zerocheck, &evaluator.mle_logup];
        let row_bytes = source.columns() * size_of::<EF>() + partials_bytes(programs, degree.div_ceil(2), degree);
        let rows = rows_per_tile(&gpu, 1 << n_lift, row_bytes);
        // a block holds whole lines, so at least two rows
        let tile = Self::alloc(&gpu, source.columns(), n_lift, rows.max(2).ilog2() as usize)?;
        for (b, block) in tile.blocks.iter().enumerate() {
            let points = tile.block_rows(b);
            PleFold { source, points, l_skip, lagrange, tile: block, tile_at: 0, stride: 1 << tile.log_block }
                .record(rec);
        }
        Ok(tile)
    }

    /// The tile with one variable fewer.
    fn fold(&self, rec: &mut Recorder, r: &Challenge) -> Result<Self> {
        let folded = Self::alloc(rec.gpu(), self.columns, self.log_rows - 1, self.log_block)?;
        for b in 0..self.blocks.len() {
            let per_block = 1 << (folded.log_block + 1 - self.log_block);
            let (block, part) = (&folded.blocks[b / per_block], b % per_block);
            self.fold_block(rec, r, b, (block, 0), (part, folded.log_block));
        }
        Ok(folded)
    }

    /// Folds a variable of all blocks into one tile, which begins at an element of `folded`.
    fn fold_into(&self, rec: &mut Recorder, r: &Challenge, folded: (&DeviceBuffer<EF>, usize)) {
        for b in 0..self.blocks.len() {
            self.fold_block(rec, r, b, folded, (b, self.log_rows - 1));
        }
    }

    /// Folds block `b`; the result is the `part`-th of a tile of `2^log_rows` rows.
    fn fold_block(
        &self,
        rec: &mut Recorder,
        r: &Challenge,
        b: usize,
        (folded, folded_at): (&DeviceBuffer<EF>, usize),
        (part, log_rows): (usize, usize),
    ) {
        let half = 1 << (self.log_block - 1);
        let fold = MleFold {
            columns: self.columns,
            source_rows: 2 * half,
            source: &self.blocks[b],
            r,
            folded,
            folded_at,
            folded_rows: part * half..(part + 1) * half,
            folded_stride: 1 << log_rows,
        };
        fold_tile(rec, &fold);
    }

    fn block_rows(&self, b: usize) -> Range<usize> {
        b << self.log_block..(b + 1) << self.log_block
    }

    fn bytes(&self) -> usize {
        (self.columns * size_of::<EF>()) << self.log_rows
    }

    /// The single row, once all variables are folded.
    ///
    /// # Panics
    ///
    /// When there are more rows.
    pub(super) fn last_row(&self) -> &DeviceBuffer<EF> {
        assert_eq!(self.log_rows, 0, "variables left");
        &self.blocks[0]
    }
}

/// What the MLE rounds read.
#[derive(Clone, Copy)]
pub(super) struct MleArgs<'a> {
    /// The AIRs.
    pub input: &'a RapInput<'a>,
    /// Programs and constants of all AIRs.
    pub listing: &'a Listing,
    /// Where the columns come from, by AIR.
    pub sources: &'a [TileSource],
    /// Weights of constraints, interactions and rows.
    pub weights: &'a Weights,
    /// The point of the logup claim.
    pub xi: &'a DeviceBuffer<EF>,
    /// Powers of mu, three per AIR.
    pub mu: &'a DeviceBuffer<EF>,
}

/// The MLE rounds of all AIRs: most lie in arenas, which a round evaluates and folds at once; those that are too large have tiles of their
/// own until they have shrunk.
pub(super) struct MleRounds<'a> {
    args: MleArgs<'a>,
    /// The columns of AIRs that are in no arena.
    tiles: Vec<Option<MleTile>>,
    arenas: Vec<Arena>,
    /// The arenas that begin later.
    planned: Vec<ArenaPlan>,
    lists: DeviceLists,
    /// The work lists of each round, arena by arena.
    rounds: Vec<Vec<WorkList>>,
}

/// What the MLE rounds leave: places on the transcript's tape.
pub(super) struct RoundsProof {
    /// For each round `s(1), .., s(degree + 1)`.
    pub polys: Vec<Observed<EF>>,
    /// The challenge of each round.
    pub r: Vec<Challenge>,
}

impl<'a> MleRounds<'a> {
    /// Folds the univariate variable of all columns.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn begin(rec: &mut Recorder, args: MleArgs<'a>, lagrange: &DeviceBuffer<EF>) -> Result<Self> {
        let MleArgs { input, listing, sources, .. } = args;
        let (gpu, l_skip, degree) = (rec.gpu().clone(), input.l_skip, input.max_constraint_degree);
        let mut plans = plan_arenas(&gpu, (input, listing), |a| sources[a].columns());
        let (lists, rounds) = args.lists(&gpu, &plans)?;
        let planned = plans.split_off(plans.partition_point(|plan| plan.joins() == 0));
        let arenas: Vec<Arena> = plans.into_iter().map(|plan| plan.begin(&gpu)).collect::<Result<_>>()?;
        arenas.iter().try_for_each(|arena| arena.fold_ple(rec, sources, l_skip, lagrange))?;
        let listed: Vec<usize> = arenas.iter().flat_map(|arena| arena.plan().airs()).collect();
        let tile = |(a, air): (usize, &super::input::AirInput<'_>)| {
            if listed.contains(&a) {
                return Ok(None);
            }
            let domain = (l_skip, input.n_lift(air));
            MleTile::fold_ple(rec, (&sources[a], air.evaluator), domain, lagrange, degree).map(Some)
        };
        let tiles = input.airs.iter().enumerate().map(tile).collect::<Result<_>>()?;
        Ok(Self { args, tiles, arenas, planned, lists, rounds })
    }

    /// Runs the rounds on the device.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn prove(
        &mut self,
        tx: &mut Transcript<'_>,
        rec: &mut Recorder,
        state: &RoundState,
    ) -> Result<RoundsProof> {
        let MleArgs { input, xi, mu, .. } = self.args;
        let degree = input.max_constraint_degree;
        let mut proof = RoundsProof { polys: vec![], r: vec![] };
        if input.n_max == 0 {
            return Ok(proof);
        }
        let gpu = rec.gpu().clone();
        let lifts: Vec<_> =
            input.airs.iter().map(|air| [input.n_lift(air) as u32, input.log_lift(air) as u32]).collect();
        let lifts = Lifts::new(&gpu, &lifts, degree)?;
        let sums = gpu.alloc(input.n_max * self.args.sums_len(), "MLE round sums")?;
        rec.clear(&sums);
        let partials = gpu.alloc(self.partials_len(), "partial sums")?;
        let mut pace = Pace::default();
        for round in 1..=input.n_max {
            let sums_offset = (round - 1) * self.args.sums_len();
            self.evaluate(rec, round, (&sums, sums_offset), &partials)?;
            let steps = tx.in_kernel(&[KernelStep { observe: degree + 1, sample: 1 }])?;
            let batch = BatchRound {
                xi,
                mu,
                lifts: &lifts,
                sums: &sums,
                sums_offset,
                degree,
                round,
                xi_index: input.l_skip + round - 1,
                r_before: proof.r.last(),
                sponge: &steps.sponge,
            };
            batch.record(rec, state)?;
            let r = &steps.sampled[0][0];
            self.fold(rec, (round, r), &mut pace)?;
            proof.polys.push(steps.observed[0].clone());
            proof.r.push(r.clone());
        }
        Ok(proof)
    }

    /// Adds the evaluations of a round: at `X = 1..=degree` where variables are left, and the value itself where the last one just went.
    fn evaluate(
        &self,
        rec: &mut Recorder,
        round: usize,
        (sums, offset): (&DeviceBuffer<EF>, usize),
        partials: &DeviceBuffer<EF>,
    ) -> Result<()> {
        let tables = self.args.listing.tables(self.args.weights);
        for (arena, list) in self.arenas.iter().zip(&self.rounds[round - 1]) {
            self.lists.lines(rec, list, arena.columns(round), tables, sums);
        }
        for (a, tile) in self.tiles.iter().enumerate() {
            if let Some(tile) = tile {
                self.evaluate_tile(rec, (a, tile), round, (sums, offset), partials)?;
            }
        }
        Ok(())
    }

    fn evaluate_tile(
        &self,
        rec: &mut Recorder,
        (a, tile): (usize, &MleTile),
        round: usize,
        (sums, offset): (&DeviceBuffer<EF>, usize),
        partials: &DeviceBuffer<EF>,
    ) -> Result<()> {
        let MleArgs { input, listing, weights, .. } = self.args;
        let (air, degree) = (&input.airs[a], input.max_constraint_degree);
        let n_lift = input.n_lift(air);
        if n_lift + 1 < round {
            return Ok(());
        }
        let last = n_lift + 1 == round;
        let eq_xi = &weights.eq_xi[&n_lift];
        let level = eq_xi.level(if last { 0 } else { n_lift - round });
        let lines = if last { 1 } else { 1 << (tile.log_block - 1) };
        for (b, block) in tile.blocks.iter().enumerate() {
            let logup = SumEvaluation {
                tile: block,
                stride: 1 << tile.log_block,
                rows: lines,
                points: degree,
                last,
                constants: listing.constants_of(rec.gpu(), input, a)?,
                weights: weights.logup_of(rec, input, a)?,
                eq: eq_xi.buffer(),
                eq_offset: level + b * lines,
                partials,
                sums,
                sums_offset: offset + 3 * a * degree,
            };
            air.evaluator.mle_logup.add_sums(rec, &logup);
            let sums_offset = logup.sums_offset + 2 * degree;
            let zerocheck = SumEvaluation { weights: &weights.lambda, sums_offset, ..logup };
            air.evaluator.mle_zerocheck.add_sums(rec, &zerocheck);
        }
        Ok(())
    }

    fn fold(&mut self, rec: &mut Recorder, (round, r): (usize, &Challenge), pace: &mut Pace) -> Result<()> {
        for arena in &self.arenas {
            let bytes = arena.fold(rec, (round, r));
            pace.step(rec, bytes)?;
        }
        while self.planned.first().is_some_and(|plan| plan.joins() == round) {
            let arena = self.planned.remove(0).begin(rec.gpu())?;
            for a in arena.plan().airs() {
                let tile = self.tiles[a].take().expect("an AIR in no arena");
                tile.fold_into(rec, r, arena.place(a));
                pace.step(rec, tile.bytes())?;
            }
            self.arenas.push(arena);
        }
        for (air, tile) in self.args.input.airs.iter().zip(&mut self.tiles) {
            let Some(tile) = tile.as_mut().filter(|_| self.args.input.n_lift(air) >= round) else { continue };
            let bytes = tile.bytes();
            *tile = tile.fold(rec, r)?;
            pace.step(rec, bytes)?;
        }
        Ok(())
    }

    /// Partial sums of the largest block.
    fn partials_len(&self) -> usize {
        let input = self.args.input;
        let degree = input.max_constraint_degree;
        let len = |(air, tile): (&super::input::AirInput<'_>, &Option<MleTile>)| {
            let programs = [&air.evaluator.mle_zerocheck, &air.evaluator.mle_logup];
            let lines = (1usize << tile.as_ref()?.log_block).div_ceil(2);
            Some(partials_len(programs, lines * degree, degree))
        };
        input.airs.iter().zip(&self.tiles).filter_map(len).max().unwrap_or(0)
    }

    /// The columns of an AIR, once all variables are folded: a column an element, from one on.
    ///
    /// # Panics
    ///
    /// When there are variables left.
    pub(super) fn last_row(&self, air: usize) -> (&DeviceBuffer<EF>, usize) {
        let in_arena = self.arenas.iter().find_map(|arena| arena.last_row(air));
        in_arena.unwrap_or_else(|| (self.tiles[air].as_ref().expect("in no arena").last_row(), 0))
    }
}

impl MleArgs<'_> {
    /// Sums of a round: numerator, denominator, zerocheck of each AIR.
    fn sums_len(&self) -> usize {
        3 * self.input.airs.len() * self.input.max_constraint_degree
    }

    /// The work lists of all rounds, for the arenas that there are by then.
    fn lists(&self, gpu: &Gpu, plans: &[ArenaPlan]) -> Result<(DeviceLists, Vec<Vec<WorkList>>)> {
        let mut lists = WorkLists::default();
        let of_round = |round: usize| {
            let begun = plans.iter().filter(|plan| plan.joins() < round);
            let jobs = |plan: &ArenaPlan| {
                plan.jobs(gpu, (self.input, self.listing, self.weights), round, (round - 1) * self.sums_len())
            };
            begun.map(|plan| lists.add(RowKind::Lines, &jobs(plan))).collect()
        };
        let rounds = (1..=self.input.n_max).map(of_round).collect();
        Ok((lists.finish(gpu)?, rounds))
    }
}
