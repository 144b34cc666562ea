//! The two passes over the cells of the committed columns: the lambda-combination of equally tall columns, and every column's opening.

use std::{collections::BTreeSet, ops::Range};

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{jobs::JobTable, ROUND_WORDS};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::{powers::powers, transcript::Challenge},
};

kernel! {
    /// Lambda-combinations of the columns of runs.
    struct CombineColumns("stacked_reduction/combine.wgsl", workgroup = 256) {
        buffers { read source: F, read lambda_powers: EF, write combined: EF, read jobs: u32 as vec4<u32> }
        params { first_job, jobs_len }
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
    /// Dot products of the columns of runs with the row weights, per block of rows.
    struct ViewDots("stacked_reduction/view_dots.wgsl", workgroup = 256) {
        buffers { read tape: F, read source: F, read row_weights: EF, write partials: EF, read jobs: u32 as vec4<u32> }
        params { log_blocks, u_word, first_job, jobs_len }
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

/// A run of columns in a combined vector.
pub struct Combination<'a> {
    pub run: &'a ColumnRun,
    /// Which rows.
    pub rows: Range<usize>,
    /// The first one's place.
    pub at: usize,
}

/// Combinations of columns: `combined[at + i]` is the sum over the runs of that place of their cells of row `rows.start + i`, weighted by the
/// views' powers.
pub struct Combinations<'a> {
    pub lambda: &'a LambdaPowers,
    /// Those of one place are of as many rows, and no two places overlap.
    pub runs: &'a [Combination<'a>],
    pub combined: &'a DeviceBuffer<EF>,
}

/// Part of a run of [`Combinations`].
struct CombinedPart {
    run: ColumnRun,
    rows: Range<usize>,
    at: usize,
}

impl Combinations<'_> {
    /// Records them: a dispatch for all runs of one buffer, unless they are of one place, or too long.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { lambda, combined, .. } = *self;
        let (mut jobs, mut written) = (JobTable::default(), BTreeSet::new());
        let mut left: Vec<CombinedPart> = self.runs.iter().flat_map(|run| self.parts(run)).collect();
        while let Some(source) = left.first().map(|part| part.run.source.clone()) {
            let (mut places, mut cells) = (BTreeSet::new(), 0);
            jobs.begin(source);
            left.retain(|part| {
                let more = part.rows.len() * part.run.views;
                let is_next = part.run.source.shares_memory(jobs.source()) && !places.contains(&part.at);
                if !is_next || (cells > 0 && cells + more > MAX_CELLS) {
                    return true;
                }
                places.insert(part.at);
                cells += more;
                part.add_to(&mut jobs, written.contains(&part.at));
                false
            });
            written.extend(places);
        }
        jobs.record(rec, |rec, source, jobs, (first_job, jobs_len), grid| {
            let kernel = CombineColumns { source, lambda_powers: &lambda.powers, combined, jobs, first_job, jobs_len };
            rec.dispatch(&kernel, grid);
        })
    }

    fn parts(&self, combination: &Combination<'_>) -> Vec<CombinedPart> {
        let Combination { run, rows, at } = combination;
        run.check();
        let powers = &self.lambda.powers;
        assert!(2 * (run.first_view + run.views) <= powers.len() && rows.end <= 1 << run.log_height, "rows of a run");
        assert!(rows.len().is_power_of_two() && at + rows.len() <= self.combined.len(), "room for the combination");
        let part = |run| CombinedPart { run, rows: rows.clone(), at: *at };
        run.parts(rows.len()).into_iter().map(part).collect()
    }
}

impl CombinedPart {
    fn add_to(&self, jobs: &mut JobTable<F>, accumulate: bool) {
        let Self { run, rows, at } = self;
        let row_threads_log = row_threads_log(rows.len(), run.views);
        let offset = run.offset + rows.start * run.stride;
        let words = [offset, run.pitch, run.stride, rows.len(), run.views, run.first_view, row_threads_log];
        jobs.add(
            &[words.as_slice(), &[usize::from(accumulate), *at]].concat(),
            rows.len().div_ceil(4 << row_threads_log),
        );
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

/// Openings of the columns of runs at u, as partial sums per block: `partials[slot 2^log_blocks + block]`, the slots of the runs one after the
/// other.
pub struct CellDots<'a> {
    pub weights: &'a RowWeights,
    pub runs: &'a [&'a ColumnRun],
    /// The first run's first slot.
    pub slot: usize,
    pub partials: &'a DeviceBuffer<EF>,
}

impl CellDots<'_> {
    /// Records the dot products of the columns with their weights: a dispatch for all runs of one buffer, unless they are too long.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let log_blocks = self.weights.log_blocks();
        let unread = self.weights.weights.cast();
        let of_blocks = self.weights.of_blocks.as_ref();
        let mut left = self.parts();
        let mut jobs = JobTable::default();
        while let Some(source) = left.first().map(|(run, _)| run.source.clone()) {
            let mut cells = 0;
            jobs.begin(source);
            left.retain(|(run, slot)| {
                let more = run.views << run.log_height;
                if !run.source.shares_memory(jobs.source()) || (cells > 0 && cells + more > MAX_CELLS) {
                    return true;
                }
                cells += more;
                self.add_to(&mut jobs, run, *slot);
                false
            });
        }
        jobs.record(rec, |rec, source, jobs, (first_job, jobs_len), grid| {
            let kernel = ViewDots {
                tape: of_blocks.map_or(&unread, Challenge::tape),
                source,
                row_weights: &self.weights.weights,
                partials: self.partials,
                jobs,
                log_blocks: log_blocks as u32,
                u_word: of_blocks.map_or(0, Challenge::word),
                first_job,
                jobs_len,
            };
            rec.dispatch(&kernel, grid);
        })
    }

    /// Runs for one dispatch each at most, with their slots.
    fn parts(&self) -> Vec<(ColumnRun, usize)> {
        let RowWeights { l_skip, n, .. } = *self.weights;
        let (mut slot, mut parts) = (self.slot, vec![]);
        for run in self.runs {
            run.check();
            assert_eq!(run.log_height.max(l_skip), l_skip + n, "weights are for this height");
            for part in run.parts(1 << run.log_height) {
                let views = part.views;
                parts.push((part, slot));
                slot += views;
            }
        }
        assert!(slot << self.weights.log_blocks() <= self.partials.len(), "room for the openings");
        parts
    }

    fn add_to(&self, jobs: &mut JobTable<F>, run: &ColumnRun, slot: usize) {
        let log_blocks = self.weights.log_blocks();
        let block_bits = run.log_height - log_blocks;
        // four rows a step, so small teams for few rows
        let team_bits = block_bits.saturating_sub(2).min(8);
        let columns = 4 * (256 >> team_bits);
        let weight_shift = self.weights.l_skip.saturating_sub(run.log_height);
        let words = [run.offset, run.pitch, run.stride, run.views, block_bits, team_bits, weight_shift, slot];
        jobs.add(&words, run.views.div_ceil(columns) << log_blocks);
    }
}
