//! The two passes over the cells of the committed columns: the lambda-combination of equally tall columns, and every column's opening.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::ROUND_WORDS;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::{powers::powers, transcript::Challenge},
};

kernel! {
    /// Lambda-combination of a run's columns.
    struct Combine("stacked_reduction/combine.wgsl", workgroup = 256) {
        buffers { read source: F, read lambda_powers: EF, write combined: EF }
        params { offset, pitch, stride, rows, views, first_view, row_threads_log, accumulate }
    }
}

kernel! {
    /// eq(row, u) for the rows of a block.
    struct RowWeightsKernel("stacked_reduction/row_weights.wgsl", workgroup = 64) {
        buffers { read tape: F, read point: EF, write out: EF }
        params { l_skip, bits, u_word }
    }
}

kernel! {
    /// Dot products of a run's columns with the row weights, per block of rows.
    struct ViewDots("stacked_reduction/view_dots.wgsl", workgroup = 256) {
        buffers { read tape: F, read source: F, read row_weights: EF, write partials: EF }
        params { offset, pitch, stride, views, block_bits, log_blocks, team_bits, weight_shift, u_word, slot }
    }
}

/// Cells of one dispatch at most: about 10 ms on an 8-core M1, by its bandwidth as by its multiplications.
const MAX_CELLS: usize = 1 << 28;

/// log2 of the threads of a combination's workgroup that read consecutive rows, at least: a subgroup reads whole cache lines.
const MIN_ROW_THREADS_LOG: usize = 5;

/// log2 of the rows (four a thread) that fill a large GPU. Where there are fewer, several threads share the columns of a row.
const FULL_ROWS_LOG: usize = 18;

/// log2 of the rows of a block of the openings: the weights of a block (64 KiB) stay in a cache, and its columns fill 256 threads 16 times.
const BLOCK_BITS: usize = 12;

/// Columns of equal height that lie at regular distances in one buffer: `2^log_height` rows `stride` elements apart, from `offset` on,
/// the next column `pitch` elements further. They are the views `first_view..first_view + views` of the reduction.
#[derive(Clone)]
pub struct ColumnRun {
    pub source: DeviceBuffer<F>,
    pub offset: usize,
    pub pitch: usize,
    pub stride: usize,
    pub log_height: usize,
    pub first_view: usize,
    pub views: usize,
}

impl ColumnRun {
    /// Parts of few enough columns for one dispatch over `rows` rows.
    pub(super) fn parts(&self, rows: usize) -> Vec<ColumnRun> {
        let most = (MAX_CELLS / rows).max(4);
        let part = |start: usize| ColumnRun {
            offset: self.offset + start * self.pitch,
            first_view: self.first_view + start,
            views: most.min(self.views - start),
            ..self.clone()
        };
        (0..self.views).step_by(most).map(part).collect()
    }

    fn check(&self) {
        let last = self.offset + (self.views - 1) * self.pitch + ((1 << self.log_height) - 1) * self.stride;
        assert!(self.views > 0 && last < self.source.len(), "columns end within their buffer");
    }
}

/// The weights of all views: view v weighs `powers[2 v]`, its rotation `powers[2 v + 1]`.
pub struct LambdaPowers {
    pub powers: DeviceBuffer<EF>,
}

impl LambdaPowers {
    /// The powers of lambda that `views` views need.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    pub fn new(rec: &mut Recorder, lambda: &Challenge, views: usize) -> Result<Self> {
        Ok(Self { powers: powers(rec, lambda, 2 * views)? })
    }
}

/// `combined[i]` (+)= the sum of the run's cells of row `rows.start + i`, weighted by the views' powers.
pub struct Combination<'a> {
    pub lambda: &'a LambdaPowers,
    pub run: &'a ColumnRun,
    pub rows: Range<usize>,
    pub combined: &'a DeviceBuffer<EF>,
    /// Adds to what is there.
    pub accumulate: bool,
}

impl Combination<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { lambda, run, rows, combined, accumulate } = self;
        run.check();
        let powers = &lambda.powers;
        assert!(2 * (run.first_view + run.views) <= powers.len() && rows.end <= 1 << run.log_height, "rows of a run");
        assert!(rows.len().is_power_of_two() && rows.len() <= combined.len(), "room for the combination");
        let row_threads_log = row_threads_log(rows.len(), run.views);
        for (i, part) in run.parts(rows.len()).iter().enumerate() {
            let kernel = Combine {
                source: &part.source,
                lambda_powers: powers,
                combined,
                offset: (part.offset + rows.start * part.stride) as u32,
                pitch: part.pitch as u32,
                stride: part.stride as u32,
                rows: rows.len() as u32,
                views: part.views as u32,
                first_view: part.first_view as u32,
                row_threads_log: row_threads_log as u32,
                accumulate: (*accumulate || i > 0) as u32,
            };
            rec.dispatch(&kernel, Grid::workgroups(rows.len().div_ceil(4 << row_threads_log)));
        }
    }
}

/// log2 of the threads of 256 that read consecutive rows; the others share the columns, but not more of them than fours of columns.
fn row_threads_log(rows: usize, views: usize) -> usize {
    let log_rows = rows.ilog2() as usize;
    let fours = views.div_ceil(4).next_power_of_two().ilog2() as usize;
    let column_threads = FULL_ROWS_LOG.saturating_sub(log_rows).min(8 - MIN_ROW_THREADS_LOG).min(fours);
    (8 - column_threads).min(log_rows.saturating_sub(2).max(MIN_ROW_THREADS_LOG)).min(log_rows)
}

/// eq_D(u_0, z) eq(x, u[1..]) for the cells (z, x) of the first block of a column.
pub struct RowWeights {
    weights: DeviceBuffer<EF>,
    l_skip: usize,
    n: usize,
    /// The first challenge that weighs blocks, when there are several; the others follow at [`ROUND_WORDS`].
    of_blocks: Option<Challenge>,
}

impl RowWeights {
    /// Weights for columns of 2^(l_skip + n) cells; `point` as of [`super::Point`], `u` the n challenges u_1, u_2, ..
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When they are not those of consecutive rounds, [`ROUND_WORDS`] apart on one tape.
    pub fn new(rec: &mut Recorder, u: &[Challenge], point: &DeviceBuffer<EF>, l_skip: usize) -> Result<Self> {
        let apart =
            |pair: &[Challenge]| pair[0].is_on(pair[1].tape()) && pair[1].word() == pair[0].word() + ROUND_WORDS;
        assert!(u.windows(2).all(apart), "challenges of consecutive rounds");
        let n = u.len();
        let bits = n.min(BLOCK_BITS - l_skip);
        let len = 1 << (l_skip + bits);
        let weights = rec.gpu().alloc(len, "row weights")?;
        let unread = point.cast();
        let kernel = RowWeightsKernel {
            tape: u.first().map_or(&unread, Challenge::tape),
            point,
            out: &weights,
            l_skip: l_skip as u32,
            bits: bits as u32,
            u_word: u.first().map_or(0, Challenge::word),
        };
        rec.dispatch(&kernel, Grid::threads(len));
        Ok(Self { weights, l_skip, n, of_blocks: u.get(bits).cloned() })
    }

    /// log2 of the blocks of a column.
    pub fn log_blocks(&self) -> usize {
        (self.l_skip + self.n).saturating_sub(BLOCK_BITS)
    }
}

/// Openings of a run's columns at u, as partial sums per block: `partials[slot 2^log_blocks + block]`, the slots from `slot` on.
pub struct CellDots<'a> {
    pub weights: &'a RowWeights,
    pub run: &'a ColumnRun,
    pub slot: usize,
    pub partials: &'a DeviceBuffer<EF>,
}

impl CellDots<'_> {
    /// Records the dot products of the columns with their weights.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { run, slot, .. } = *self;
        run.check();
        let RowWeights { l_skip, n, .. } = *self.weights;
        assert_eq!(run.log_height.max(l_skip), l_skip + n, "weights are for this height");
        let log_blocks = self.weights.log_blocks();
        assert!((slot + run.views) << log_blocks <= self.partials.len(), "room for the openings");
        let block_bits = run.log_height - log_blocks;
        // four rows a step, so small teams for few rows
        let team_bits = block_bits.saturating_sub(2).min(8);
        let columns = 4 * (256 >> team_bits);
        let unread = self.weights.weights.cast();
        let of_blocks = self.weights.of_blocks.as_ref();
        let mut slot = slot;
        for part in run.parts(1 << run.log_height) {
            let kernel = ViewDots {
                tape: of_blocks.map_or(&unread, Challenge::tape),
                source: &part.source,
                row_weights: &self.weights.weights,
                partials: self.partials,
                offset: part.offset as u32,
                pitch: part.pitch as u32,
                stride: part.stride as u32,
                views: part.views as u32,
                block_bits: block_bits as u32,
                log_blocks: log_blocks as u32,
                team_bits: team_bits as u32,
                weight_shift: l_skip.saturating_sub(run.log_height) as u32,
                u_word: of_blocks.map_or(0, Challenge::word),
                slot: slot as u32,
            };
            rec.dispatch(&kernel, Grid::workgroups(part.views.div_ceil(columns) << log_blocks));
            slot += part.views;
        }
    }
}
