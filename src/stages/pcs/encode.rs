//! Panels of the codeword matrix, made one after the other in the same memory.

use std::{cell::OnceCell, ops::Range};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{stacked::panel_width, StackedMatrix};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        merkle::Panel,
        ntt::{self, DftShape, Direction, Transform},
    },
};

/// Encodes columns of a stacked matrix: upstream's `rs_code_matrix`, a panel at a time.
pub(super) struct PanelEncoder<'a> {
    stacked: &'a StackedMatrix,
    l_skip: usize,
    log_blowup: usize,
    panel_width: usize,
    /// The passes of the transform alternate between two buffers: these, made at first use, or one of them and a panel to keep.
    work: [OnceCell<DeviceBuffer<F>>; 2],
}

impl<'a> PanelEncoder<'a> {
    /// Panels as wide as serves the device best.
    pub(super) fn new(gpu: &Gpu, stacked: &'a StackedMatrix, log_blowup: usize) -> Self {
        Self::with_panels(panel_width(gpu, stacked.height() << log_blowup), stacked, log_blowup)
    }

    /// Panels of at most `panel_width` columns.
    pub(super) fn with_panels(panel_width: usize, stacked: &'a StackedMatrix, log_blowup: usize) -> Self {
        let l_skip = stacked.layout().l_skip();
        let panel_width = panel_width.min(stacked.width());
        Self { stacked, l_skip, log_blowup, panel_width, work: Default::default() }
    }

    /// Bytes of a panel.
    pub(super) fn panel_bytes(&self) -> u64 {
        4 * self.panel_words() as u64
    }

    fn panel_words(&self) -> usize {
        self.panel_width * (self.stacked.height() << self.log_blowup)
    }

    fn work(&self, gpu: &Gpu, i: usize) -> Result<&DeviceBuffer<F>> {
        if let Some(buffer) = self.work[i].get() {
            return Ok(buffer);
        }
        let buffer = gpu.alloc(self.panel_words(), "codeword panel")?;
        Ok(self.work[i].get_or_init(|| buffer))
    }

    /// Columns of all panels but the last.
    pub(super) fn panel_width(&self) -> usize {
        self.panel_width
    }

    /// The panels' columns from column `first` on, in order.
    pub(super) fn panels(&self, first: usize) -> impl Iterator<Item = Range<usize>> {
        let (width, panel_width) = (self.stacked.width(), self.panel_width);
        (first..width).step_by(panel_width).map(move |start| start..(start + panel_width).min(width))
    }

    /// The codewords of columns `columns`, in memory that the next panel reuses.
    pub(super) fn encode(&self, rec: &mut Recorder, columns: Range<usize>) -> Result<DeviceBuffer<F>> {
        let gpu = rec.gpu().clone();
        self.encode_in(rec, columns, [self.work(&gpu, 0)?, self.work(&gpu, 1)?])
    }

    /// The codewords of columns `columns`, in memory of their own.
    pub(super) fn encode_kept(&self, rec: &mut Recorder, columns: Range<usize>) -> Result<DeviceBuffer<F>> {
        let words = columns.len() * (self.stacked.height() << self.log_blowup);
        let gpu = rec.gpu().clone();
        let kept = gpu.alloc(words, "codeword matrix")?;
        match self.shape(&columns).result_at::<F>(&gpu) {
            0 => self.encode_in(rec, columns, [&kept, self.work(&gpu, 1)?]),
            _ => self.encode_in(rec, columns, [self.work(&gpu, 0)?, &kept]),
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
        Transform { src: work[1], work, shape, direction: Direction::Forward }.record(rec)?;
        Ok(work[shape.result_at::<F>(rec.gpu())].clone())
    }

    fn shape(&self, columns: &Range<usize>) -> DftShape {
        let log_height = self.stacked.height().ilog2() as usize;
        DftShape { columns: columns.len(), log_in: log_height, log_out: log_height + self.log_blowup }
    }
}

/// A panel of codewords as the hashing kernels see it.
pub(super) fn codeword_panel(words: &DeviceBuffer<F>, columns: usize, rs_height: usize) -> Panel<'_> {
    Panel::columns(words, columns, rs_height)
}
