//! Panels of the codeword matrix, made one after the other in the same memory.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{stacked::panel_width, StackedMatrix};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        merkle::Panel,
        ntt::{self, Direction, Shape},
    },
};

/// Encodes columns of a stacked matrix: upstream's `rs_code_matrix`, a panel at a time.
pub(super) struct Encoder<'a> {
    stacked: &'a StackedMatrix,
    l_skip: usize,
    log_blowup: usize,
    panel_width: usize,
    /// The passes of the transform alternate between these two.
    work: [DeviceBuffer<F>; 2],
}

impl<'a> Encoder<'a> {
    pub fn new(gpu: &Gpu, stacked: &'a StackedMatrix, log_blowup: usize) -> Result<Self> {
        let l_skip = stacked.layout().l_skip();
        let panel_width = panel_width(gpu, stacked.height() << log_blowup);
        let words = panel_width.min(stacked.width()) * (stacked.height() << log_blowup);
        let work = [gpu.alloc(words, "codeword panel")?, gpu.alloc(words, "codeword panel")?];
        Ok(Self { stacked, l_skip, log_blowup, panel_width, work })
    }

    /// Columns of all panels but the last.
    pub fn panel_width(&self) -> usize {
        self.panel_width
    }

    /// The panels' columns, in order.
    pub fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        let (width, panel_width) = (self.stacked.width(), self.panel_width);
        (0..width).step_by(panel_width).map(move |start| start..(start + panel_width).min(width))
    }

    /// The codewords of columns `columns`, in memory that the next panel reuses.
    pub fn encode(&self, rec: &mut Recorder, columns: Range<usize>) -> Result<DeviceBuffer<F>> {
        self.encode_in(rec, columns, [&self.work[0], &self.work[1]])
    }

    /// The codewords of columns `columns`, in memory of their own.
    pub fn encode_kept(&self, rec: &mut Recorder, columns: Range<usize>) -> Result<DeviceBuffer<F>> {
        let words = columns.len() * (self.stacked.height() << self.log_blowup);
        let kept = rec.gpu().alloc(words, "codeword matrix")?;
        match self.shape(&columns).result_at::<F>() {
            0 => self.encode_in(rec, columns, [&kept, &self.work[1]]),
            _ => self.encode_in(rec, columns, [&self.work[0], &kept]),
        }
    }

    /// Gathers the evaluations, chunks encoded, into the second buffer, from where the passes of the transform start.
    fn encode_in(
        &self,
        rec: &mut Recorder,
        columns: Range<usize>,
        work: [&DeviceBuffer<F>; 2],
    ) -> Result<DeviceBuffer<F>> {
        for run in self.stacked.runs(columns.clone()) {
            ntt::encode_chunks(rec, &run, work[1], self.l_skip)?;
        }
        let shape = self.shape(&columns);
        ntt::transform(rec, work[1], work, shape, Direction::Forward)?;
        Ok(work[shape.result_at::<F>()].clone())
    }

    fn shape(&self, columns: &Range<usize>) -> Shape {
        let log_height = self.stacked.height().ilog2() as usize;
        Shape { columns: columns.len(), log_in: log_height, log_out: log_height + self.log_blowup }
    }
}

/// A panel of codewords as the hashing kernels see it.
pub(super) fn codeword_panel(words: &DeviceBuffer<F>, columns: usize, rs_height: usize) -> Panel<'_> {
    Panel::columns(words, columns, rs_height)
}
