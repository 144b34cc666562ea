//! Where the cells of the stacked matrix are.

use std::ops::Range;

use openvm_stark_backend::prover::{error::StackedPcsError, stacked_pcs::StackedLayout};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    error::{Error, Result},
    gpu::{DeviceMatrix, Gpu, Recorder, Segment},
    kernels::{
        ntt::CellRun,
        pack::{Pack, PackedRun, PackedTrace},
        poseidon2::RATE,
    },
};

/// Bytes that a panel aims at: enough work for a dispatch on the largest card, little beside a trace that needs panels at all.
pub(super) const PANEL_BYTES: u64 = 256 << 20;

/// Cells of traces that are copied behind one another at most. An H200 copies them in 0.06 ms, by its bandwidth; they save a dispatch a trace in
/// each pass over the cells.
pub(super) const PACKED_CELLS: usize = 1 << 24;

/// Traces that are worth it.
const LEAST_PACKED: usize = 3;

/// The stacked matrix, never materialised: the traces (cheap clones) and where their cells lie in it.
///
/// Cells are counted column-major: cell `column * height + row`. The cells of each trace are contiguous, those of all traces follow one
/// another, and what remains of the last column is zero.
#[derive(Clone)]
pub struct StackedMatrix {
    layout: StackedLayout,
    height: usize,
    width: usize,
    pieces: Vec<Piece>,
    /// The traces of the pieces, as far as each is one.
    traces: Vec<usize>,
    /// For each trace where its cells lie with others'.
    packed: Vec<Option<PackedTrace>>,
}

/// A trace within the stacked matrix, or several, packed as one column.
#[derive(Clone)]
pub struct Piece {
    /// The trace. Cell `c` of it (column-major) is cell `first_cell + c * stride` of the stacked matrix.
    pub matrix: DeviceMatrix<F>,
    /// The first cell in the stacked matrix.
    pub first_cell: usize,
    /// log2 of the distance of consecutive cells: `l_skip - log_height` for traces shorter than 2^l_skip, else 0.
    pub log_stride: usize,
}

impl Piece {
    /// The cells of the stacked matrix that the trace covers, with the zeros between strided ones.
    pub fn cells(&self) -> Range<usize> {
        self.first_cell..self.first_cell + ((self.matrix.height() * self.matrix.width()) << self.log_stride)
    }

    pub(crate) fn segment_cells(&self, segment: &Segment<F>) -> Range<usize> {
        let at = |column: usize| self.first_cell + ((column * self.matrix.height()) << self.log_stride);
        at(segment.columns.start)..at(segment.columns.end)
    }
}

impl StackedMatrix {
    /// Stacks traces, tallest first, by upstream's rules (`stacked_matrix`).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when the traces are not sorted by height, when a height is no power of two or exceeds the stacked height,
    /// or when there is no column at all.
    pub fn new(l_skip: usize, n_stack: usize, traces: &[&DeviceMatrix<F>]) -> Result<Self> {
        let dimensions = |trace: &&DeviceMatrix<F>| trace_dimensions(trace, l_skip + n_stack);
        let dimensions = traces.iter().map(dimensions).collect::<Result<Vec<_>>>()?;
        let present: Vec<_> = dimensions.iter().filter(|(width, _)| *width > 0).collect();
        if !present.is_sorted_by(|a, b| a.1 >= b.1) {
            return Err(Error::InvalidInput("traces to stack are not sorted by height, tallest first".into()));
        }
        let layout = StackedLayout::new(l_skip, l_skip + n_stack, sorted(dimensions)).map_err(invalid_layout)?;
        if layout.width() == 0 {
            return Err(Error::InvalidInput("no columns to commit".into()));
        }
        let mut first_cell = 0;
        let (mut pieces, mut present) = (vec![], vec![]);
        for (t, trace) in traces.iter().enumerate().filter(|(_, trace)| trace.width() > 0) {
            present.push(t);
            let log_stride = l_skip.saturating_sub(trace.height().ilog2() as usize);
            let piece = Piece { matrix: (*trace).clone(), first_cell, log_stride };
            first_cell = piece.cells().end;
            pieces.push(piece);
        }
        let packed = vec![None; traces.len()];
        Ok(Self { height: layout.height(), width: layout.width(), layout, pieces, traces: present, packed })
    }

    /// A stacked matrix that exists as a whole already, such as one transported from the host.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when the matrix has not the dimensions of the layout.
    pub fn from_stacked(layout: StackedLayout, matrix: DeviceMatrix<F>) -> Result<Self> {
        matrix.check()?;
        let (height, width) = (layout.height(), layout.width());
        if (matrix.height(), matrix.width()) != (height, width) {
            let found = format!("{} x {}", matrix.height(), matrix.width());
            return Err(Error::InvalidInput(format!("stacked matrix is {found}, its layout {height} x {width}")));
        }
        let packed = vec![None; layout.mat_starts.len()];
        let pieces = vec![Piece { matrix, first_cell: 0, log_stride: 0 }];
        Ok(Self { layout, height, width, pieces, traces: vec![], packed })
    }

    /// Copies the cells of the lowest traces behind one another, as they lie in the stacked matrix, so that passes over the cells need not
    /// take trace by trace. Does nothing where those are few, or on a matrix that was packed.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn pack(&mut self, rec: &mut Recorder) -> Result<()> {
        let most = PACKED_CELLS.min(rec.gpu().capabilities().max_segment_bytes as usize / size_of::<F>());
        let Some(end) = self.pieces.last().map(|piece| piece.cells().end) else { return Ok(()) };
        let first = self.pieces.partition_point(|piece| end - piece.first_cell > most);
        if self.traces.len().saturating_sub(first) < LEAST_PACKED {
            return Ok(());
        }
        let lowest = self.pieces.split_off(first);
        let first_cell = lowest[0].first_cell;
        let matrix = DeviceMatrix::alloc(rec.gpu(), end - first_cell, 1, "packed traces")?;
        let cells = &matrix.segments()[0].buffer;
        let mut runs = vec![];
        for piece in &lowest {
            for segment in piece.matrix.segments() {
                let Range { start, end } = piece.segment_cells(segment);
                let (source, cells) = (&segment.buffer, start - first_cell..end - first_cell);
                runs.push(PackedRun { source, cells, log_stride: piece.log_stride });
            }
        }
        Pack { runs: &runs, cells }.record(rec)?;
        for (piece, trace) in lowest.iter().zip(self.traces.split_off(first)) {
            let (cells, at) = (cells.clone(), piece.first_cell - first_cell);
            self.packed[trace] = Some(PackedTrace { cells, at, log_stride: piece.log_stride });
        }
        self.pieces.push(Piece { matrix, first_cell, log_stride: 0 });
        Ok(())
    }

    /// Where the cells of a trace lie with others', if they do.
    pub fn packed(&self, trace: usize) -> Option<&PackedTrace> {
        self.packed.get(trace)?.as_ref()
    }

    /// Where each column lies.
    pub fn layout(&self) -> &StackedLayout {
        &self.layout
    }

    /// Rows: 2^(l_skip + n_stack).
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The traces in stacking order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Device memory of the traces, bytes.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().flat_map(|piece| piece.matrix.segments()).map(|segment| segment.buffer.bytes()).sum()
    }

    /// The runs of trace cells that make up columns `columns`, in order and without gaps.
    pub(super) fn runs(&self, columns: Range<usize>) -> Vec<CellRun<'_>> {
        assert!(columns.end <= self.width && !columns.is_empty(), "columns {columns:?} of {}", self.width);
        let panel = columns.start * self.height..columns.end * self.height;
        let mut runs = vec![];
        for piece in &self.pieces {
            for segment in piece.matrix.segments() {
                let cells = piece.segment_cells(segment);
                let shared = cells.start.max(panel.start)..cells.end.min(panel.end);
                if !shared.is_empty() {
                    runs.push(CellRun {
                        source: &segment.buffer,
                        source_start: (shared.start - cells.start) >> piece.log_stride,
                        log_stride: piece.log_stride,
                        target_start: shared.start - panel.start,
                        filled: shared.len(),
                        padding: 0,
                    });
                }
            }
        }
        let last = runs.last_mut().expect("every column holds cells of a trace");
        last.padding = panel.len() - (last.target_start + last.filled);
        runs
    }
}

/// Columns of `height` words that a panel holds.
pub(super) fn panel_width(gpu: &Gpu, height: usize) -> usize {
    let column_bytes = (height * 4) as u64;
    let capabilities = gpu.capabilities();
    let target = PANEL_BYTES.min(capabilities.max_segment_bytes) / column_bytes;
    let most = (capabilities.max_buffer_bytes / column_bytes).max(1) as usize;
    if most < RATE {
        return 1 << most.ilog2();
    }
    (target.min(most as u64) as usize / RATE * RATE).max(RATE)
}

/// log2 of the height of a trace that is to be stacked to `2^log_limit` rows.
///
/// # Errors
///
/// [`Error::InvalidInput`] when the height is no power of two or exceeds the stacked height; why the trace is not on the device.
pub fn checked_log_height(trace: &DeviceMatrix<F>, log_limit: usize) -> Result<usize> {
    trace.check()?;
    let (height, limit) = (trace.height(), 1 << log_limit);
    if !height.is_power_of_two() {
        return Err(Error::InvalidInput(format!("the trace has {height} rows, which is not a power of two")));
    }
    if height > limit {
        return Err(Error::InvalidInput(format!("the trace has {height} rows, the stacked matrix only {limit}")));
    }
    Ok(height.ilog2() as usize)
}

/// (width, log2 of the height) of a trace.
fn trace_dimensions(trace: &DeviceMatrix<F>, log_limit: usize) -> Result<(usize, usize)> {
    match trace.width() {
        0 => Ok((0, 0)),
        width => Ok((width, checked_log_height(trace, log_limit)?)),
    }
}

/// Gives traces without columns a height that keeps the order, which upstream's layout asks for.
fn sorted(dimensions: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut before = dimensions.iter().map(|d| d.1).max().unwrap_or(0);
    dimensions
        .into_iter()
        .map(|(width, log_height)| {
            before = if width > 0 { log_height } else { before };
            (width, before)
        })
        .collect()
}

fn invalid_layout(error: StackedPcsError) -> Error {
    Error::InvalidInput(error.to_string())
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::prover::{stacked_pcs::stacked_matrix, ColMajorMatrix};
    use p3_field::PrimeCharacteristicRing;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    fn trace(rng: &mut StdRng, height: usize, width: usize) -> ColMajorMatrix<F> {
        ColMajorMatrix::new((0..height * width).map(|_| F::from_u32(rng.random())).collect(), width)
    }

    /// The columns that the runs describe.
    fn panel(gpu: &Gpu, stacked: &StackedMatrix, columns: Range<usize>) -> Vec<F> {
        let mut panel = vec![];
        for run in stacked.runs(columns) {
            assert_eq!(panel.len(), run.target_start, "runs follow one another");
            let source = gpu.download(run.source).unwrap();
            panel.resize(run.target_start + run.cells(), F::ZERO);
            let cells = &source[run.source_start..run.source_start + (run.filled >> run.log_stride)];
            for (i, cell) in cells.iter().enumerate() {
                panel[run.target_start + (i << run.log_stride)] = *cell;
            }
        }
        panel
    }

    #[test]
    fn runs_make_up_the_columns_of_the_stacked_matrix() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(1);
        // (l_skip, n_stack, (height, width) of each trace)
        type Case<'a> = (usize, usize, &'a [(usize, usize)]);
        let cases: [Case<'_>; 6] = [
            (0, 0, &[(1, 1)]),
            (0, 3, &[(8, 3), (4, 1), (1, 5)]),
            (2, 0, &[(4, 1), (2, 1), (1, 1)]),
            (4, 3, &[(128, 2), (64, 3), (16, 5), (8, 1), (2, 7), (1, 19)]),
            (2, 9, &[(2048, 17), (1024, 1), (4, 3)]),
            (3, 8, &[(512, 1)]),
        ];
        for (l_skip, n_stack, shapes) in cases {
            let host: Vec<_> = shapes.iter().map(|(height, width)| trace(&mut rng, *height, *width)).collect();
            let (expected, layout) = stacked_matrix(l_skip, n_stack, &host.iter().collect::<Vec<_>>()).unwrap();
            let device: Vec<_> = host
                .iter()
                .zip(shapes)
                .map(|(t, (height, width))| DeviceMatrix::upload(&gpu, &t.values, *height, *width, "trace").unwrap())
                .collect();
            let stacked = StackedMatrix::new(l_skip, n_stack, &device.iter().collect::<Vec<_>>()).unwrap();
            let (height, width) = (layout.height(), layout.width());
            assert_eq!((stacked.height(), stacked.width()), (height, width));
            let whole = DeviceMatrix::upload(&gpu, &expected.values, height, width, "stacked").unwrap();
            let whole = StackedMatrix::from_stacked(layout, whole).unwrap();
            let mut packed = stacked.clone();
            let mut rec = gpu.recorder("test");
            packed.pack(&mut rec).unwrap();
            rec.submit().unwrap();
            if gpu.capabilities().max_segment_bytes >= stacked.bytes() {
                let is_packed = packed.pieces().len() < stacked.pieces().len();
                assert_eq!(is_packed, shapes.len() >= LEAST_PACKED, "{shapes:?}");
            }
            for columns in [0..width, 0..1, width / 2..width, width - 1..width] {
                for stacked in [&stacked, &whole, &packed] {
                    assert_eq!(
                        panel(&gpu, stacked, columns.clone()),
                        expected.values[columns.start * height..columns.end * height],
                        "{shapes:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_stacked_is_named() {
        let gpu = testing::gpu();
        let of = |height: usize, width| {
            let values = vec![F::ZERO; height * width];
            DeviceMatrix::upload(&gpu, &values, height, width, "trace").unwrap()
        };
        let (tall, short, odd, empty) = (of(64, 1), of(4, 2), of(3, 1), of(0, 0));
        assert!(StackedMatrix::new(1, 5, &[&tall, &empty, &short, &empty]).is_ok());
        for (traces, what) in [
            (vec![&short, &tall], "sorted"),
            (vec![&odd], "power of two"),
            (vec![&of(0, 2)], "power of two"),
            (vec![&empty], "no columns"),
        ] {
            assert!(StackedMatrix::new(1, 5, &traces).err().unwrap().to_string().contains(what));
        }
        assert!(StackedMatrix::new(1, 4, &[&tall]).err().unwrap().to_string().contains("stacked matrix only 32"));
    }
}
