//! The pass over a layer's table for two sumcheck variables (`wgsl/gkr/window.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{EqTables, Fractions, GkrState, Rounds, MAX_FRACTIONS_PER_DISPATCH};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
};

kernel! {
    /// Folds two variables (or none) and sums the next two's window.
    struct Window("gkr/window.wgsl", workgroup = 256) {
        buffers {
            read source_p: u32 as Numerator, read source_q: EF, write target_p: u32 as vec4<u32>, write target_q: EF,
            read eq: EF, read state: EF, write partials: EF
        }
        params {
            /// Of points x' of this dispatch: `len` (a multiple of 4, or all) from `first` on within the source piece.
            first,
            len,
            /// Where x' = `first` goes: fraction index in the target piece.
            target_at,
            /// y of x' = `first` in the whole table.
            first_y,
            rise, raw, fold, slot,
            /// eq(xi.., y) = eq[low_at + y % 2^low_vars] * eq[high_at + y / 2^low_vars].
            low_vars,
            low_at, high_at, real, squarings,
        }
        flags {
            /// Numerators of the source are of the base field.
            BASE_NUMERATORS
        }
    }
}

/// Workgroups that a pass should have: enough to fill a large GPU several times over, few enough that one workgroup adds up their sums
/// in about a microsecond.
const TARGET_SLOTS: usize = 1024;

/// Points that a workgroup takes at a time.
const TILE: usize = 256;

/// A layer's table: two fractions for each point of a hypercube.
#[derive(Clone)]
pub(crate) struct LayerTable {
    pub fractions: Fractions,
    /// The table's fractions are the sums of 2^rise of `fractions`.
    pub rise: usize,
    /// A level of the tree, rather than a folded table with p0 + lambda q0 in the place of p0.
    pub raw: bool,
    /// The level that the table is, or that it was folded from.
    pub level: usize,
}

impl LayerTable {
    /// Variables of the hypercube.
    pub(crate) fn vars(&self) -> usize {
        self.fractions.log_len - self.rise - 1
    }

    /// Points that are not padding alone.
    fn real_points(&self) -> usize {
        self.fractions.real_len.div_ceil(2 << self.rise)
    }
}

/// A pass over `table` that sums the window of the variables `first`, `first + 1` of the layer.
#[derive(Clone, Copy)]
pub(crate) struct SumPass<'a> {
    pub table: &'a LayerTable,
    pub first: usize,
    pub eq: &'a EqTables,
    pub state: &'a GkrState,
}

/// The partial sums of a window: ten for each slot.
pub(crate) struct PartialSums {
    pub buffer: DeviceBuffer<EF>,
    pub slots: usize,
}

/// A part of a pass: points `first .. first + len` of one piece of the source.
struct PassPart {
    piece: usize,
    first: usize,
    len: usize,
}

impl SumPass<'_> {
    /// The sums of the table, whose first variable is `first`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(crate) fn sum(self, rec: &mut Recorder) -> Result<PartialSums> {
        Pass { sums: self, target: None }.record(rec)
    }

    /// Folds the table's first two variables at the challenges of the last window, and sums the folded table, whose first variable is
    /// `first`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(crate) fn fold_and_sum(self, rec: &mut Recorder) -> Result<(LayerTable, PartialSums)> {
        let real_len = 2 * self.table.real_points().div_ceil(16) * 4;
        let target = folded_table(rec.gpu(), (self.table.vars() - 1, real_len))?;
        let sums = Pass { sums: self, target: Some(&target) }.record(rec)?;
        Ok((LayerTable { fractions: target, rise: 0, raw: false, level: self.table.level }, sums))
    }
}

/// A [`SumPass`] with the place for the folded table.
struct Pass<'a> {
    sums: SumPass<'a>,
    target: Option<&'a Fractions>,
}

impl Pass<'_> {
    fn record(self, rec: &mut Recorder) -> Result<PartialSums> {
        let chunks = self.chunks();
        let most = (TARGET_SLOTS / chunks.len()).max(1);
        let workgroups = |chunk: &PassPart| chunk.len.div_ceil(TILE).min(most);
        let slots = chunks.iter().map(workgroups).sum();
        let sums = PartialSums { buffer: rec.gpu().alloc(10 * slots, "GKR partial sums")?, slots };
        let unused = unused(rec.gpu())?;
        let mut slot = 0;
        for chunk in &chunks {
            let kernel = Window { slot: slot as u32, ..self.kernel(chunk, &unused, &sums.buffer) };
            rec.dispatch(&kernel, Grid::workgroups(workgroups(chunk)));
            slot += workgroups(chunk);
        }
        Ok(sums)
    }

    /// log2 of the source's fractions that go into a point.
    fn log_fractions(&self) -> usize {
        self.sums.table.rise + 1 + if self.target.is_some() { 2 } else { 0 }
    }

    fn chunks(&self) -> Vec<PassPart> {
        let source = &self.sums.table.fractions;
        let per_piece = source.piece_len() >> self.log_fractions();
        assert!(per_piece >= 4, "pieces of {} fractions are too short for a pass", source.piece_len());
        let len = per_piece.min(MAX_FRACTIONS_PER_DISPATCH >> self.log_fractions());
        let points = source.real_len.div_ceil(4 << self.log_fractions()) * 4;
        let chunk = |start: usize| PassPart {
            piece: start / per_piece,
            first: start % per_piece,
            len: len.min(points - start),
        };
        (0..points).step_by(len).map(chunk).collect()
    }

    fn kernel<'b>(
        &'b self,
        chunk: &PassPart,
        (unused_p, unused_q): &'b (DeviceBuffer<u32>, DeviceBuffer<EF>),
        partials: &'b DeviceBuffer<EF>,
    ) -> Window<'b> {
        let SumPass { table, first, eq, state } = self.sums;
        let source = &table.fractions;
        // the chunk's first point in the whole table
        let start = chunk.piece * (source.piece_len() >> self.log_fractions()) + chunk.first;
        let (target_p, target_q, target_at) = match self.target {
            None => (unused_p, unused_q, 0),
            Some(target) => {
                let (piece, at) = (2 * start / target.piece_len(), 2 * start % target.piece_len());
                (&target.numer[piece], &target.denom[piece], at)
            }
        };
        let suffix = eq.suffix(first + 2);
        let level = if table.raw { source.log_len } else { table.level };
        Window {
            source_p: &source.numer[chunk.piece],
            source_q: &source.denom[chunk.piece],
            target_p,
            target_q,
            eq: &eq.buffer,
            state: &state.buffer,
            partials,
            first: chunk.first as u32,
            len: chunk.len as u32,
            target_at: target_at as u32,
            first_y: (start / 4) as u32,
            rise: table.rise as u32,
            raw: table.raw as u32,
            fold: self.target.is_some() as u32,
            slot: 0,
            low_vars: suffix.low_vars as u32,
            low_at: suffix.low_at as u32,
            high_at: suffix.high_at as u32,
            real: source.real_from(chunk.piece * source.piece_len()) as u32,
            squarings: state.squarings(level),
            BASE_NUMERATORS: source.base_numerators,
        }
    }
}

/// Room for a folded table; one piece when it is small enough for [`Rounds::tail`].
fn folded_table(gpu: &Gpu, (log_len, real_len): (usize, usize)) -> Result<Fractions> {
    if log_len <= Rounds::TAIL + 1 {
        return Fractions::in_pieces(gpu, (log_len, real_len), 1 << log_len, false);
    }
    Fractions::alloc_padded(gpu, log_len, real_len)
}

/// Stands in for the target of a pass that folds nothing.
fn unused(gpu: &Gpu) -> Result<(DeviceBuffer<u32>, DeviceBuffer<EF>)> {
    let table = |key| gpu.table(key, || vec![EF::default()]);
    Ok((table("unused numerators")?.cast(), table("unused denominators")?))
}
