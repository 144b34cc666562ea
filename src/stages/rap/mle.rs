//! The MLE rounds: constraints and interactions over the extension on the columns folded so far, one variable a round.

use std::ops::Range;

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{
    input::RapInput,
    round0::{eq_bytes, Weights},
    scratch::{all_partials_bytes, partials_bytes, partials_len, rows_per_tile, Pace, TILE_BYTES},
};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{AirEvaluator, SumEvaluation},
        rap::{fold_tile, BatchRound, MleFold, PleFold, RoundState, TileSource},
    },
    stages::{
        transcript::{Challenge, KernelStep, Observed, Transcript},
        ProofShape,
    },
};

/// Bytes that the MLE rounds hold at most: trees of `eq`, all columns over the extension, 1.5 times while they are folded, and partial
/// sums.
pub fn peak_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    let columns = (16 * shape.tile_cells()) >> params.l_skip;
    let partials = all_partials_bytes(params, shape) >> params.l_skip;
    eq_bytes(params) + columns / 2 * 3 + (TILE_BYTES as u64).min(partials)
}

/// The columns of one AIR over the extension, `2^log_rows` rows in blocks of `2^log_block`, each column-major.
pub struct MleTile {
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
    pub fn fold_ple(
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
            PleFold { source, points, l_skip, lagrange, tile: block, stride: 1 << tile.log_block }.fill(rec);
        }
        Ok(tile)
    }

    /// The tile with one variable fewer.
    fn fold(&self, rec: &mut Recorder, r: &Challenge) -> Result<Self> {
        let folded = Self::alloc(rec.gpu(), self.columns, self.log_rows - 1, self.log_block)?;
        let half = 1 << (self.log_block - 1);
        let per_block = (1 << folded.log_block) / half;
        for (b, source) in self.blocks.iter().enumerate() {
            let start = b % per_block * half;
            let fold = MleFold {
                columns: self.columns,
                source_rows: 2 * half,
                source,
                r,
                folded: &folded.blocks[b / per_block],
                folded_rows: start..start + half,
                folded_stride: 1 << folded.log_block,
            };
            fold_tile(rec, &fold);
        }
        Ok(folded)
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
    pub fn last_row(&self) -> &DeviceBuffer<EF> {
        assert_eq!(self.log_rows, 0, "variables left");
        &self.blocks[0]
    }
}

/// The MLE rounds of all AIRs.
pub struct MleRounds<'a> {
    /// The AIRs.
    pub input: &'a RapInput<'a>,
    /// Weights of constraints, interactions and rows.
    pub weights: &'a Weights,
    /// The point of the logup claim.
    pub xi: &'a DeviceBuffer<EF>,
    /// Powers of mu, three per AIR.
    pub mu: &'a DeviceBuffer<EF>,
    /// The columns, by AIR.
    pub tiles: Vec<MleTile>,
}

/// What the MLE rounds leave: places on the transcript's tape.
pub struct RoundsProof {
    /// For each round `s(1), .., s(degree + 1)`.
    pub polys: Vec<Observed<EF>>,
    /// The challenge of each round.
    pub r: Vec<Challenge>,
}

impl MleRounds<'_> {
    /// Runs the rounds on the device.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn prove(&mut self, tx: &mut Transcript<'_>, rec: &mut Recorder, state: &RoundState) -> Result<RoundsProof> {
        let (input, degree) = (self.input, self.input.max_constraint_degree);
        let mut proof = RoundsProof { polys: vec![], r: vec![] };
        if input.n_max == 0 {
            return Ok(proof);
        }
        let gpu = rec.gpu().clone();
        let lifts: Vec<u32> =
            input.airs.iter().flat_map(|air| [input.n_lift(air) as u32, input.log_lift(air) as u32]).collect();
        let lifts = gpu.upload(&lifts, "lifts")?;
        let sums_len = 3 * input.airs.len() * degree;
        let sums = gpu.alloc(input.n_max * sums_len, "MLE round sums")?;
        rec.clear(&sums);
        let partials = gpu.alloc(self.partials_len(), "partial sums")?;
        let mut pace = Pace::default();
        for round in 1..=input.n_max {
            let sums_offset = (round - 1) * sums_len;
            self.evaluate(rec, round, (&sums, sums_offset), &partials);
            let steps = tx.in_kernel(&[KernelStep { observe: degree + 1, sample: 1 }])?;
            let batch = BatchRound {
                xi: self.xi,
                mu: self.mu,
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
    ) {
        let degree = self.input.max_constraint_degree;
        for (a, (air, tile)) in self.input.airs.iter().zip(&self.tiles).enumerate() {
            let n_lift = self.input.n_lift(air);
            if n_lift + 1 < round {
                continue;
            }
            let last = n_lift + 1 == round;
            let eq_xi = &self.weights.eq_xi[&n_lift];
            let level = eq_xi.level(if last { 0 } else { n_lift - round });
            let lines = if last { 1 } else { 1 << (tile.log_block - 1) };
            for (b, block) in tile.blocks.iter().enumerate() {
                let logup = SumEvaluation {
                    tile: block,
                    stride: 1 << tile.log_block,
                    rows: lines,
                    points: degree,
                    last,
                    constants: &self.weights.constants[a],
                    weights: &self.weights.logup[a],
                    eq: eq_xi.buffer(),
                    eq_offset: level + b * lines,
                    partials,
                    sums,
                    sums_offset: offset + 3 * a * degree,
                };
                air.evaluator.mle_logup.add_sums(rec, &logup);
                let sums_offset = logup.sums_offset + 2 * degree;
                let zerocheck = SumEvaluation { weights: &self.weights.lambda, sums_offset, ..logup };
                air.evaluator.mle_zerocheck.add_sums(rec, &zerocheck);
            }
        }
    }

    fn fold(&mut self, rec: &mut Recorder, (round, r): (usize, &Challenge), pace: &mut Pace) -> Result<()> {
        for (air, tile) in self.input.airs.iter().zip(&mut self.tiles) {
            if self.input.n_lift(air) >= round {
                let bytes = tile.bytes();
                *tile = tile.fold(rec, r)?;
                pace.step(rec, bytes)?;
            }
        }
        Ok(())
    }

    /// Partial sums of the largest block.
    fn partials_len(&self) -> usize {
        let degree = self.input.max_constraint_degree;
        let len = |(air, tile): (&super::input::AirInput<'_>, &MleTile)| {
            let programs = [&air.evaluator.mle_zerocheck, &air.evaluator.mle_logup];
            partials_len(programs, (1usize << tile.log_block).div_ceil(2) * degree, degree)
        };
        self.input.airs.iter().zip(&self.tiles).map(len).max().unwrap_or(0)
    }
}
