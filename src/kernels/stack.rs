//! Cells of traces gathered into panels of the stacked matrix (`wgsl/stack/*`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

/// Cells that one workgroup copies.
const CELLS_PER_WORKGROUP: usize = 2048;

kernel! {
    /// dst[target + i] = src[source + i / stride], 0 where the source has nothing
    struct Gather("stack/gather.wgsl", workgroup = 256) {
        buffers { read src: F, write dst: F }
        params { source, target_offset, filled, len, log_stride }
    }
}

/// Consecutive cells of the stacked matrix that come from consecutive cells of one trace segment, then zeros.
pub struct Run<'a> {
    /// A segment of a trace.
    pub source: &'a DeviceBuffer<F>,
    /// First cell in the segment.
    pub source_start: usize,
    /// log2 of the distance of the segment's cells in the stacked matrix.
    pub log_stride: usize,
    /// First cell in the panel.
    pub target_start: usize,
    /// Cells of the panel that the segment fills (its own cells times the stride).
    pub filled: usize,
    /// Zero cells of the panel behind them.
    pub padding: usize,
}

impl Run<'_> {
    /// Cells of the panel that are written.
    pub fn cells(&self) -> usize {
        self.filled + self.padding
    }

    pub(super) fn check(&self, panel: &DeviceBuffer<F>) {
        let stride_mask = (1 << self.log_stride) - 1;
        assert_eq!(self.filled & stride_mask, 0, "a run ends between strides");
        assert!(self.source_start + (self.filled >> self.log_stride) <= self.source.len(), "run past its segment");
        assert!(self.target_start + self.cells() <= panel.len(), "run past its panel");
    }
}

/// Copies a run into `panel`.
pub fn gather(rec: &mut Recorder, run: &Run<'_>, panel: &DeviceBuffer<F>) {
    run.check(panel);
    let kernel = Gather {
        src: run.source,
        dst: panel,
        source: run.source_start as u32,
        target_offset: run.target_start as u32,
        filled: run.filled as u32,
        len: run.cells() as u32,
        log_stride: run.log_stride as u32,
    };
    rec.dispatch(&kernel, Grid::workgroups(run.cells().div_ceil(CELLS_PER_WORKGROUP)));
}
