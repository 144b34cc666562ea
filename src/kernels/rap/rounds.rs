//! The rounds' own algebra, on the device: batching, the round polynomial, folding, openings
//! (`wgsl/rap/{combine,begin_rounds,batch_round,fold_mle,gather_openings}.wgsl`).

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{batch_multiplicative_inverse, PrimeCharacteristicRing};

use crate::{
    error::Result,
    gpu::{as_words, DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::{
        poseidon2::round_constants,
        transcript::{Challenge, KernelSponge},
    },
};

kernel! {
    /// out[j] = sum_i weights[i] * polys[i][j]
    struct CombinePolynomials("rap/combine.wgsl", workgroup = 64) {
        buffers { read weights: EF, read polys: EF, write out: EF }
        params { len, count }
    }
}

kernel! {
    /// eq_D(xi[0], r_0), eq_sharp_D(xi, r_0), 0, s_0(r_0)
    struct Begin("rap/begin_rounds.wgsl", workgroup = 64) {
        buffers { read tape: F, read xi: EF, read lagrange: EF, read s_0: EF, write state: EF }
        params { l_skip, len, challenge }
    }
}

kernel! {
    /// s(X) at X = 1..=degree + 1 from the sums of all AIRs, observed, and the challenge
    struct BatchRoundKernel("rap/batch_round.wgsl", workgroup = 64) {
        buffers {
            read xi: EF, read mu: EF, read sums: EF, read lifts: u32, write state: EF,
            write sponge: F, write tape: F, read round_constants: F as vec4<u32>,
        }
        params { round, airs, degree, xi_index, challenge, sums_offset, absorb_index, sample_index, tape_at }
    }
}

kernel! {
    /// folded[c][offset + y] = t_0 + r (t_1 - t_0)
    struct FoldMle("rap/fold_mle.wgsl", workgroup = 256) {
        buffers { read tape: F, read source: EF, write folded: EF }
        params { columns, rows, target_stride, offset, challenge }
    }
}

kernel! {
    /// openings[target] = tile[column] for (column, target) = columns[start + k]
    struct GatherOpenings("rap/gather_openings.wgsl", workgroup = 64) {
        buffers { read tile: EF, read columns: u32 as vec2<u32>, write openings: EF }
        params { start, count }
    }
}

/// In place of a challenge or a column where there is none.
const NONE: u32 = u32::MAX;

/// `sum_i weights[i] * polys[i]` for polynomials of `len` coefficients that lie one after the other.
///
/// # Errors
///
/// As [`Gpu::alloc`].
///
/// # Panics
///
/// When there are fewer weights than polynomials.
pub fn combine(
    rec: &mut Recorder,
    weights: &DeviceBuffer<EF>,
    polys: &DeviceBuffer<EF>,
    len: usize,
) -> Result<DeviceBuffer<EF>> {
    let count = polys.len() / len;
    assert!(weights.len() >= count, "{} weights for {count} polynomials", weights.len());
    let out = rec.gpu().alloc(len, "s_0")?;
    let kernel = CombinePolynomials { weights, polys, out: &out, len: len as u32, count: count as u32 };
    rec.dispatch(&kernel, Grid::threads(len));
    Ok(out)
}

/// What the MLE rounds carry along (layout: `wgsl/rap/batch_round.wgsl`).
pub struct RoundState(DeviceBuffer<EF>);

/// Arguments of [`begin_rounds`].
pub struct BeginRounds<'a> {
    /// Log of the size of the skip domain.
    pub l_skip: usize,
    /// The challenges `xi`.
    pub xi: &'a DeviceBuffer<EF>,
    /// The Lagrange basis of the skip domain at `r_0`.
    pub lagrange: &'a DeviceBuffer<EF>,
    /// Coefficients of the round-0 polynomial.
    pub s_0: &'a DeviceBuffer<EF>,
    /// The challenge of round 0.
    pub r_0: &'a Challenge,
    /// Degree of the round polynomials before the factor `eq`.
    pub degree: usize,
}

/// The state before the first MLE round.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub fn begin_rounds(rec: &mut Recorder, args: &BeginRounds<'_>) -> Result<RoundState> {
    assert!(args.xi.len() >= args.l_skip.max(1) && args.lagrange.len() >= 1 << args.l_skip, "tables too short");
    let state = rec.gpu().alloc(4 + args.degree + 1, "round state")?;
    let kernel = Begin {
        tape: args.r_0.tape(),
        xi: args.xi,
        lagrange: args.lagrange,
        s_0: args.s_0,
        state: &state,
        l_skip: args.l_skip as u32,
        len: args.s_0.len() as u32,
        challenge: args.r_0.word(),
    };
    rec.dispatch(&kernel, Grid::workgroups(1));
    Ok(RoundState(state))
}

/// Arguments of one MLE round's batching.
pub struct BatchRound<'a> {
    /// The challenges `xi`.
    pub xi: &'a DeviceBuffer<EF>,
    /// Powers of `mu`, three per AIR.
    pub mu: &'a DeviceBuffer<EF>,
    /// [`Lifts`] of the AIRs.
    pub lifts: &'a Lifts,
    /// Sums of all AIRs: per AIR numerator, denominator, zerocheck, `degree` values each.
    pub sums: &'a DeviceBuffer<EF>,
    /// First element of this round's sums.
    pub sums_offset: usize,
    /// Degree of the sums as polynomials.
    pub degree: usize,
    /// The round, from 1.
    pub round: usize,
    /// Index in `xi` of this round's variable.
    pub xi_index: usize,
    /// The challenge of the round before; `None` in round 1, whose state [`begin_rounds`] made.
    pub r_before: Option<&'a Challenge>,
    /// What observes `s(1), .., s(degree + 1)` and samples the round's challenge.
    pub sponge: &'a KernelSponge,
}

impl BatchRound<'_> {
    /// Advances the state over the round before, observes this round's polynomial and samples its challenge.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`], at the first call on a device.
    ///
    /// # Panics
    ///
    /// When a buffer is too short, or the challenge before is not on the sponge's tape.
    pub fn record(&self, rec: &mut Recorder, state: &RoundState) -> Result<()> {
        let airs = self.lifts.airs;
        assert_eq!(self.lifts.degree, self.degree, "degree of the rounds");
        assert!(self.r_before.is_none_or(|r| r.is_on(&self.sponge.tape)), "challenges on one tape");
        assert!(self.mu.len() >= 3 * airs, "too few powers of mu");
        assert!(self.sums.len() >= self.sums_offset + 3 * airs * self.degree, "sums too short");
        assert!(self.xi.len() > self.xi_index && state.0.len() > 4 + self.degree, "tables too short");
        let kernel = BatchRoundKernel {
            xi: self.xi,
            mu: self.mu,
            sums: self.sums,
            lifts: &self.lifts.words,
            state: &state.0,
            sponge: &self.sponge.state,
            tape: &self.sponge.tape,
            round_constants: &round_constants(rec.gpu())?,
            round: self.round as u32,
            airs: airs as u32,
            degree: self.degree as u32,
            xi_index: self.xi_index as u32,
            challenge: self.r_before.map_or(NONE, Challenge::word),
            sums_offset: self.sums_offset as u32,
            absorb_index: self.sponge.absorb_index,
            sample_index: self.sponge.sample_index,
            tape_at: self.sponge.tape_at,
        };
        rec.dispatch(&kernel, Grid::workgroups(1));
        Ok(())
    }
}

/// What the rounds know of each AIR: variables and lift; then `1 / prod_{k != i} (i - k)` for `i, k <= degree`, which interpolate through
/// 0, .., degree.
pub struct Lifts {
    words: DeviceBuffer<u32>,
    airs: usize,
    degree: usize,
}

impl Lifts {
    /// `lifts`: `[n_lift, log2 of the lift]` of each AIR.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu, lifts: &[[u32; 2]], degree: usize) -> Result<Self> {
        let product = |i: usize| {
            let factors = (0..=degree).filter(|k| *k != i).map(|k| F::from_usize(i) - F::from_usize(k));
            factors.product::<F>()
        };
        let weights = batch_multiplicative_inverse(&(0..=degree).map(product).collect::<Vec<_>>());
        let words = gpu.upload(&[lifts.as_flattened(), as_words(&weights)].concat(), "lifts")?;
        Ok(Self { words, airs: lifts.len(), degree })
    }
}

/// Arguments of [`fold_tile`].
pub struct MleFold<'a> {
    /// Columns of the tile.
    pub columns: usize,
    /// Rows to fold (even), `source` being `columns` columns of that many elements.
    pub source_rows: usize,
    /// The tile.
    pub source: &'a DeviceBuffer<EF>,
    /// The challenge.
    pub r: &'a Challenge,
    /// Where the columns of half the rows go.
    pub folded: &'a DeviceBuffer<EF>,
    /// First element of the tile there.
    pub folded_at: usize,
    /// Rows there that are written.
    pub folded_rows: Range<usize>,
    /// Elements there from one column to the next.
    pub folded_stride: usize,
}

/// Folds one multilinear variable of all columns.
///
/// # Panics
///
/// When a tile is too small.
pub fn fold_tile(rec: &mut Recorder, args: &MleFold<'_>) {
    let rows = args.folded_rows.len();
    assert_eq!(2 * rows, args.source_rows, "folding halves the rows");
    assert!(args.source.len() >= args.columns * args.source_rows, "source too small");
    assert!(args.folded_rows.end <= args.folded_stride, "rows past the end");
    assert!(args.folded.len() >= args.folded_at + args.columns * args.folded_stride, "target too small");
    let kernel = FoldMle {
        tape: args.r.tape(),
        source: args.source,
        folded: args.folded,
        columns: args.columns as u32,
        rows: rows as u32,
        target_stride: args.folded_stride as u32,
        offset: (args.folded_at + args.folded_rows.start) as u32,
        challenge: args.r.word(),
    };
    rec.dispatch(&kernel, Grid::threads(args.columns * rows));
}

/// Columns of tiles that are folded to one row, as a dense vector: for each list in turn, those elements of its buffer that are listed, zero
/// for `None`. Lists of one buffer (the same reference) are one dispatch.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub fn gather_openings(
    rec: &mut Recorder,
    lists: &[(&DeviceBuffer<EF>, Vec<Option<u32>>)],
) -> Result<DeviceBuffer<EF>> {
    let mut gathers: Vec<(&DeviceBuffer<EF>, Vec<[u32; 2]>)> = vec![];
    let mut len = 0;
    for (tile, list) in lists {
        assert!(list.iter().flatten().all(|column| (*column as usize) < tile.len()), "column past the end");
        let at = gathers.iter().position(|(other, _)| std::ptr::eq(*other, *tile)).unwrap_or(gathers.len());
        if at == gathers.len() {
            gathers.push((tile, vec![]));
        }
        gathers[at].1.extend(list.iter().zip(len..).map(|(column, target)| [column.unwrap_or(NONE), target]));
        len += list.len() as u32;
    }
    let words: Vec<[u32; 2]> = gathers.iter().flat_map(|(_, entries)| entries).copied().collect();
    let columns = rec.gpu().upload(words.as_flattened(), "opened columns")?;
    let openings = rec.gpu().alloc(len as usize, "column openings")?;
    let mut start = 0;
    for (tile, entries) in &gathers {
        let count = entries.len() as u32;
        rec.dispatch(
            &GatherOpenings { tile, columns: &columns, openings: &openings, start, count },
            Grid::threads(entries.len()),
        );
        start += count;
    }
    Ok(openings)
}
