//! Launchers of `wgsl/constraints/points.wgsl` and `lines.wgsl`: sums over rows.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{program::ProgramDispatch, reduce, DeviceProgram, RowKind};
use crate::{
    gpu::{DeviceBuffer, Element, Recorder},
    kernel,
};

kernel! {
    /// partials[c][a][x * points + p] = eq[x] * acc_a, on base-field rows
    pub(super) struct SumPoints("constraints/points.wgsl", workgroup = 64) generated(workgroup = 256) {
        buffers {
            read tile: F as Tile, read constants: F, read weights: EF, read eq: EF, write partials: EF,
        }
        own { read records: u32 as Record, write spill: u32 as Value }
        params { columns, evaluations, points, eq_offset, accumulators, chunk, first_workgroup }
        flags { INTERPRETED, SPILL }
    }
}

kernel! {
    /// partials[c][a][y * points + X - 1] = eq[y] * acc_a, on lines over the extension
    pub(super) struct SumLines("constraints/lines.wgsl", workgroup = 64) generated(workgroup = 64) {
        buffers {
            read tile: EF, read constants: F, read weights: EF, read eq: EF, write partials: EF,
        }
        own { read records: u32 as Record, write spill: u32 as Value }
        params { stride, evaluations, points, eq_offset, accumulators, chunk, first_workgroup, last }
        flags { INTERPRETED, EXTENSION, SPILL }
    }
}

/// The rows that a tile over F needs room for: whole blocks of 64 (`wgsl/rap/tile_at.wgsl`).
pub fn tile_stride(rows: usize) -> usize {
    rows.next_multiple_of(64)
}

/// Arguments of a summed evaluation ([`DeviceProgram::add_sums`]). `T` is the tile's field: F for [`RowKind::Points`], EF for
/// [`RowKind::Lines`].
pub struct SumEvaluation<'a, T> {
    /// `layout.num_columns()` columns of `stride` elements each; over F in blocks of 64 rows (`wgsl/rap/tile_at.wgsl`).
    pub tile: &'a DeviceBuffer<T>,
    /// Over EF elements from one tile column to the next; over F rows that the tile has room for, a multiple of 64.
    pub stride: usize,
    /// Number of row weights: hypercube points `x` of the tile, or lines `y` (a tile of one row counts as one line).
    pub rows: usize,
    /// Evaluations of each row weight: points of the cosets, or largest `X`.
    pub points: usize,
    /// [`RowKind::Lines`] only: the tile has one row, whose value every `X` takes.
    pub last: bool,
    /// The program's constants, then the AIR's public values.
    pub constants: &'a DeviceBuffer<F>,
    /// The program's weights.
    pub weights: &'a DeviceBuffer<EF>,
    /// Row weights, from `eq_offset` on.
    pub eq: &'a DeviceBuffer<EF>,
    /// Element of `eq` that weighs the tile's first row.
    pub eq_offset: usize,
    /// Scratch of at least [`DeviceProgram::partials_len`] elements.
    pub partials: &'a DeviceBuffer<EF>,
    /// Where the sums are added: `sums[sums_offset + a * points + p]` for accumulator `a` and point `p`.
    pub sums: &'a DeviceBuffer<EF>,
    /// First element of the sums.
    pub sums_offset: usize,
}

impl<T: Element> SumEvaluation<'_, T> {
    pub(super) fn evaluations(&self) -> usize {
        self.rows * self.points
    }

    /// Where the partial sums of one chunk lie, if it is generated or else interpreted.
    pub(super) fn partial_rows(&self, program: &DeviceProgram, generated: bool) -> usize {
        match generated {
            true => program.partial_rows(self.evaluations(), self.points),
            false => self.evaluations(),
        }
    }

    fn check(&self, program: &DeviceProgram) {
        let ir = program.program();
        let evaluations = self.evaluations();
        let (tile_rows, words) = match program.source.kind {
            RowKind::Points => (evaluations, 1),
            RowKind::Lines => (if self.last { 1 } else { 2 * self.rows }, 4),
            RowKind::Emit => panic!("an emitting program has no sums"),
        };
        assert_eq!(T::WORDS, words, "field of the tile");
        assert!(!self.last || self.rows == 1, "a tile of one row is one line");
        assert!(self.stride >= tile_rows, "tile of {} rows with stride {}", tile_rows, self.stride);
        assert!(words > 1 || self.stride.is_multiple_of(64), "stride {} is no multiple of 64", self.stride);
        assert!(self.tile.len() >= program.layout().num_columns() * self.stride, "tile too small");
        assert!(self.constants.len() >= ir.constants_len(), "constants too short");
        assert!(self.weights.len() >= ir.num_weights, "weights too short");
        assert!(self.eq.len() >= self.eq_offset + self.rows, "row weights too short");
        assert!(self.partials.len() >= program.partials_len(evaluations, self.points), "partials too short");
        assert!(u32::try_from(self.partials.len()).is_ok(), "partials exceed 2^32 elements");
        let sums = ir.num_accumulators as usize * self.points;
        assert!(self.sums.len() >= self.sums_offset + sums, "sums too short");
    }
}

/// One of the two kernels with these arguments: what both have, beside what is its own.
macro_rules! sum_kernel {
    ($kernel:ident { $($own:ident $(: $value:expr)?),* }, $program:ident, $args:ident, $dispatch:ident) => {
        $kernel {
            tile: &$args.tile.cast(),
            constants: $args.constants,
            weights: $args.weights,
            eq: $args.eq,
            partials: $args.partials,
            records: &$program.records,
            spill: &$program.spill,
            evaluations: $args.evaluations() as u32,
            points: $args.points as u32,
            eq_offset: $args.eq_offset as u32,
            accumulators: $program.program().num_accumulators,
            chunk: $dispatch.slice.chunks.start as u32,
            first_workgroup: $dispatch.slice.workgroups.start as u32,
            INTERPRETED: true,
            SPILL: $program.dispatch_spills($dispatch),
            $($own $(: $value)?),*
        }
    };
}

impl DeviceProgram {
    /// Adds this tile's part of `sum_x eq[x] * acc_a(x, p)` to `sums[a][p]`, for every accumulator `a` and point `p`.
    ///
    /// With [`RowKind::Points`] tile row `x * points + p` holds the columns at hypercube point `x` and coset point `p`; with
    /// [`RowKind::Lines`] point `p` is `X = p + 1` on the line through tile rows `2 y` and `2 y + 1` for `x = y`.
    /// Results do not depend on the evaluator nor on how rows are divided into tiles.
    ///
    /// # Panics
    ///
    /// If a buffer is too short, `T` is not the tile's field, or the program was made to emit.
    pub fn add_sums<T: Element>(&self, rec: &mut Recorder, args: &SumEvaluation<'_, T>) {
        let evaluations = args.evaluations();
        if self.is_empty() || evaluations == 0 {
            return;
        }
        args.check(self);
        let dispatches = self.plan(rec.gpu(), evaluations, |_| true);
        for dispatch in &dispatches {
            self.dispatch_sums(rec, args, dispatch);
        }
        reduce::add_partials(rec, self, dispatches[0].kernel.is_some(), args);
    }

    fn dispatch_sums<T: Element>(&self, rec: &mut Recorder, args: &SumEvaluation<'_, T>, dispatch: &ProgramDispatch) {
        match self.source.kind {
            RowKind::Lines => {
                let (stride, last) = (args.stride as u32, args.last.into());
                dispatch.record(rec, &sum_kernel!(SumLines { stride, last, EXTENSION: true }, self, args, dispatch));
            }
            _ => {
                let columns = self.layout().num_columns() as u32;
                dispatch.record(rec, &sum_kernel!(SumPoints { columns }, self, args, dispatch));
            }
        }
    }
}
