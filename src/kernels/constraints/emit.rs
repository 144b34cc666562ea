//! Launcher of `wgsl/constraints/emit.wgsl`: the fractions of every interaction.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing};

use super::{program::ProgramDispatch, DeviceProgram, RowKind};
use crate::{
    gpu::{as_words, DeviceBuffer, Recorder},
    kernel,
};

kernel! {
    /// numerators[j] = norm * count_i(r), denominators[j] = alpha + message_i(r), on trace rows
    pub(super) struct EmitFractions("constraints/emit.wgsl", workgroup = 64) generated(workgroup = 256) {
        buffers {
            read tile: F as Tile, read constants: F, read weights: EF, read offsets: u32, write numerators: u32,
            write denominators: EF,
        }
        own { read records: u32 as Record, write spill: u32 as Value }
        params {
            columns, evaluations, chunk, first_workgroup, alpha, first_row, height, lift, norm, window_start, window_len,
        }
        flags { INTERPRETED, EMIT, SPILL }
    }
}

/// Arguments of an emitting evaluation ([`DeviceProgram::emit`]).
pub struct EmitEvaluation<'a> {
    /// `layout.num_columns()` columns of `stride` elements each, in blocks of 64 rows (`wgsl/rap/tile_at.wgsl`).
    pub tile: &'a DeviceBuffer<F>,
    /// Rows that the tile has room for, a multiple of 64.
    pub stride: usize,
    /// Rows of the tile.
    pub rows: usize,
    /// Trace row of the tile's first row.
    pub first_row: usize,
    /// Height of the trace.
    pub height: usize,
    /// How often the trace is repeated to reach `2^l_skip` rows (1 if it is as high); numerators are divided by this.
    pub lift: usize,
    /// The program's constants, then the AIR's public values.
    pub constants: &'a DeviceBuffer<F>,
    /// The program's weights, followed by alpha.
    pub weights: &'a DeviceBuffer<EF>,
    /// Position in the layer of each interaction's first fraction, on the host and on the device.
    pub offsets: (&'a [u32], &'a DeviceBuffer<u32>),
    /// Pieces of the layer's numerators, `piece_len` elements of the base field each.
    pub numerators: &'a [DeviceBuffer<u32>],
    /// Pieces of the layer's denominators.
    pub denominators: &'a [DeviceBuffer<EF>],
    /// Elements of a piece.
    pub piece_len: usize,
}

impl EmitEvaluation<'_> {
    fn check(&self, program: &DeviceProgram) {
        let ir = program.program();
        assert_eq!(program.source.kind, RowKind::Emit, "a summing program emits nothing");
        assert!(self.stride >= self.rows, "tile of {} rows with stride {}", self.rows, self.stride);
        assert!(self.stride.is_multiple_of(64), "stride {} is no multiple of 64", self.stride);
        assert!(self.tile.len() >= program.layout().num_columns() * self.stride, "tile too small");
        assert!(self.first_row + self.rows <= self.height, "tile reaches past the trace");
        assert!(self.constants.len() >= ir.constants_len(), "constants too short");
        assert!(self.weights.len() > ir.num_weights, "weights without alpha");
        let (host, device) = self.offsets;
        assert!(host.len() == ir.num_outputs && device.len() >= ir.num_outputs, "one offset per interaction");
        assert_eq!(self.numerators.len(), self.denominators.len(), "pieces of the layer");
        let end = (self.piece_len * self.numerators.len()) as u64;
        let span = (self.lift * self.height) as u64;
        assert!(host.iter().all(|&offset| u64::from(offset) + span <= end), "layer too short");
        assert!(u32::try_from(end).is_ok(), "layer of 2^32 fractions");
    }

    /// Whether any of `outputs` has a position within `window`.
    fn touches(&self, outputs: &[u32], window: &Range<usize>) -> bool {
        outputs.iter().any(|&output| {
            let start = self.offsets.0[output as usize] as usize;
            start < window.end && start + self.lift * self.height > window.start
        })
    }
}

impl DeviceProgram {
    /// Writes the fractions of every interaction on the tile's rows into the layer; the rest of the layer is left alone.
    ///
    /// Interaction `i` at trace row `r` goes to `offsets[i] + copy * height + r` for each `copy < lift`: numerator
    /// `count_i / lift`, denominator `alpha + sum_j beta^j m_{i,j} + beta^len_i (b_i + 1)`, as upstream's `gkr_input_evals`.
    ///
    /// # Panics
    ///
    /// If a buffer is too short, or the program was not made to emit.
    pub fn emit(&self, rec: &mut Recorder, args: &EmitEvaluation<'_>) {
        if self.is_empty() || args.rows == 0 {
            return;
        }
        args.check(self);
        for piece in 0..args.numerators.len() {
            let window = piece * args.piece_len..(piece + 1) * args.piece_len;
            for dispatch in self.plan(rec.gpu(), args.rows, |c| args.touches(&self.outputs[c], &window)) {
                self.dispatch_emit(rec, args, piece, &dispatch);
            }
        }
    }

    fn dispatch_emit(&self, rec: &mut Recorder, args: &EmitEvaluation<'_>, piece: usize, dispatch: &ProgramDispatch) {
        let kernel = EmitFractions {
            tile: args.tile,
            constants: args.constants,
            weights: args.weights,
            offsets: args.offsets.1,
            numerators: &args.numerators[piece],
            denominators: &args.denominators[piece],
            records: &self.records,
            spill: &self.spill,
            columns: self.layout().num_columns() as u32,
            evaluations: args.rows as u32,
            chunk: dispatch.slice.chunks.start as u32,
            first_workgroup: dispatch.slice.workgroups.start as u32,
            alpha: self.program().num_weights as u32,
            first_row: args.first_row as u32,
            height: args.height as u32,
            lift: args.lift as u32,
            norm: as_words(&[F::from_usize(args.lift).inverse()])[0],
            window_start: (piece * args.piece_len) as u32,
            window_len: args.piece_len as u32,
            INTERPRETED: true,
            EMIT: true,
            SPILL: self.dispatch_spills(dispatch),
        };
        dispatch.record(rec, &kernel);
    }
}
