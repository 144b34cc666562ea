//! From evaluations on `D x {0,1}^n` to Reed-Solomon coefficients (`wgsl/ntt/chunk.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{log_words, roots, TILE_WORDS};
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Element, Grid, Recorder},
    kernel,
    kernels::MAX_L_SKIP,
};

kernel! {
    /// c[k] = sum_{j subset of k} iDFT(chunk)[j], from a run of trace cells
    struct GatherChunks("ntt/chunk.wgsl", workgroup = 256) {
        buffers { read src: F, write data: F, read roots: F }
        params { source, target_offset, filled, len, log_stride, log_chunk, log_ext }
        flags { INVERSE }
    }
}

kernel! {
    /// The same for whole chunks of sixteen at multiples of four cells
    struct Chunks16("ntt/chunk16.wgsl", workgroup = 256) {
        buffers { read src: F as vec4<u32>, write data: F as vec4<u32> }
        params { source, target_offset, filled, chunks }
        flags { INVERSE }
    }
}

kernel! {
    /// The same in place
    struct ChunksInPlace("ntt/chunk.wgsl", workgroup = 256) {
        buffers { write data: u32, read roots: F }
        params { source, target_offset, filled, len, log_stride, log_chunk, log_ext }
        flags { INVERSE, IN_PLACE }
    }
}

/// Consecutive cells of the stacked matrix that come from consecutive cells of one trace segment, then zeros.
pub struct CellRun<'a> {
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

impl CellRun<'_> {
    /// Whether it is made of whole chunks of sixteen where vectors can be read and written.
    fn in_chunks_of_16(&self, l_skip: usize) -> bool {
        let aligned = (self.source_start | self.target_start).is_multiple_of(4) && self.filled.is_multiple_of(16);
        l_skip == 4 && self.log_stride == 0 && aligned
    }

    /// Cells of the panel that are written.
    pub fn cells(&self) -> usize {
        self.filled + self.padding
    }

    fn check(&self, panel: &DeviceBuffer<F>) {
        let stride_mask = (1 << self.log_stride) - 1;
        assert_eq!(self.filled & stride_mask, 0, "a run ends between strides");
        assert!(self.source_start + (self.filled >> self.log_stride) <= self.source.len(), "run past its segment");
        assert!(self.target_start + self.cells() <= panel.len(), "run past its panel");
    }
}

const _: () = assert!(EF::WORDS << MAX_L_SKIP <= TILE_WORDS, "a workgroup's tile holds a chunk of extension elements");

fn check(l_skip: usize) -> Result<()> {
    if l_skip > MAX_L_SKIP {
        return Err(Error::Unsupported(format!("l_skip = {l_skip}, at most {MAX_L_SKIP}")));
    }
    Ok(())
}

/// Copies a run of trace cells into `panel` and takes each chunk of 2^l_skip evaluations to its coefficients on the way.
///
/// # Errors
///
/// [`Error::Unsupported`] for l_skip above 9.
pub fn encode_chunks(rec: &mut Recorder, run: &CellRun<'_>, panel: &DeviceBuffer<F>, l_skip: usize) -> Result<()> {
    check(l_skip)?;
    run.check(panel);
    assert!((run.target_start | run.cells()).trailing_zeros() as usize >= l_skip, "a run cuts a chunk");
    if run.in_chunks_of_16(l_skip) {
        let kernel = Chunks16 {
            src: run.source,
            data: panel,
            source: run.source_start as u32 / 4,
            target_offset: run.target_start as u32 / 4,
            filled: run.filled as u32 / 4,
            chunks: run.cells() as u32 / 16,
            INVERSE: true,
        };
        rec.dispatch(&kernel, Grid::threads(run.cells() / 16));
        return Ok(());
    }
    let kernel = GatherChunks {
        src: run.source,
        data: panel,
        roots: &roots(rec.gpu())?,
        source: run.source_start as u32,
        target_offset: run.target_start as u32,
        filled: run.filled as u32,
        len: run.cells() as u32,
        log_stride: run.log_stride as u32,
        log_chunk: l_skip as u32,
        log_ext: 0,
        INVERSE: true,
    };
    rec.dispatch(&kernel, Grid::workgroups(run.cells().div_ceil(TILE_WORDS)));
    Ok(())
}

/// Upstream's function of this name, in place: per chunk of 2^l_skip elements the inverse DFT and the sums over subsets.
///
/// # Errors
///
/// [`Error::Unsupported`] for l_skip above 9; as [`Gpu::alloc`](crate::gpu::Gpu::alloc) for the table of roots.
pub fn eval_to_coeff_rs_message<T: Element>(rec: &mut Recorder, evals: &DeviceBuffer<T>, l_skip: usize) -> Result<()> {
    check(l_skip)?;
    assert_eq!(evals.len() % (1 << l_skip), 0, "{} evaluations in chunks of 2^{l_skip}", evals.len());
    let words = evals.len() * T::WORDS;
    let kernel = ChunksInPlace {
        data: &evals.cast(),
        roots: &roots(rec.gpu())?,
        source: 0,
        target_offset: 0,
        filled: 0,
        len: words as u32,
        log_stride: 0,
        log_chunk: l_skip as u32,
        log_ext: log_words::<T>() as u32,
        INVERSE: true,
        IN_PLACE: true,
    };
    rec.dispatch(&kernel, Grid::workgroups(words.div_ceil(TILE_WORDS)));
    Ok(())
}
