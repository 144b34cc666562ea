//! Traces of RV32IM's chips out of the records of their executions (`wgsl/openvm`), a file for each chip.
//!
//! A chip's kernel fills the columns where the commitment reads them, a thread a row, and counts what it looks up. The counts stay on the
//! device, where the tables' traces are made of them.

mod auipc;
mod base_alu;
mod branch_equal;
mod branch_less_than;
mod div_rem;
mod hint_store;
mod jal_lui;
mod jalr;
mod less_than;
mod load_sign_extend;
mod load_store;
mod mul;
mod mulh;
mod shift;
mod tables;
#[cfg(test)]
mod testing;

use std::{any::Any, borrow::Cow};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use rayon::prelude::*;

pub use self::tables::{Counts, Table, Tables};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, DeviceMatrix, Gpu, KernelDecl, Recorder},
};

/// A chip whose trace is made on the device.
pub struct TraceKernel {
    /// Its kernel.
    pub decl: &'static KernelDecl,
    /// Whether a chip of the CPU machine is this one.
    pub is: fn(&dyn Any) -> bool,
    /// Columns of the trace.
    pub columns: usize,
    /// How upstream's executor writes the records.
    pub layout: Layout,
    dispatch: fn(&mut Recorder, &Rows, TraceSegment),
}

/// How records lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A record a row, of so many bytes: the adapter's part, then the core's from `core` on.
    Row {
        /// Of both.
        bytes: usize,
        /// Where the core's part begins.
        core: usize,
    },
    /// A record for several rows: a head, which begins with their number, then a part for each of them. The kernel reads for each row the
    /// head, which row it is, and its part.
    Rows {
        /// Bytes of the head.
        head: usize,
        /// Bytes for each row.
        row: usize,
    },
}

/// All chips that have a kernel.
pub const TRACE_KERNELS: [&TraceKernel; 14] = [
    &load_store::LOAD_STORE,
    &base_alu::BASE_ALU,
    &less_than::LESS_THAN,
    &branch_equal::BRANCH_EQUAL,
    &shift::SHIFT,
    &branch_less_than::BRANCH_LESS_THAN,
    &jal_lui::JAL_LUI,
    &jalr::JALR,
    &auipc::AUIPC,
    &mul::MUL,
    &mulh::MULH,
    &div_rem::DIV_REM,
    &load_sign_extend::LOAD_SIGN_EXTEND,
    &hint_store::HINT_STORE,
];

impl TraceKernel {
    /// The kernel of a chip of the CPU machine, if it has one.
    pub fn of(chip: &dyn Any) -> Option<&'static Self> {
        TRACE_KERNELS.into_iter().find(|kernel| (kernel.is)(chip))
    }
}

/// All kernels of this module.
pub fn kernels() -> Vec<&'static KernelDecl> {
    TRACE_KERNELS.iter().map(|kernel| kernel.decl).chain([Counts::KERNEL]).collect()
}

/// Rows of a trace that have records, and perhaps those that pad it.
pub struct Rows<'a> {
    /// Of which chip.
    pub kernel: &'static TraceKernel,
    /// `kernel.layout.words()` a row.
    pub records: &'a DeviceBuffer<u32>,
    /// Rows with records.
    pub used: usize,
    /// The row of the first record.
    pub first: usize,
    /// Rows to fill, behind `used` with zeros.
    pub rows: usize,
    /// The trace.
    pub trace: &'a DeviceMatrix<F>,
    /// To which lookups are added.
    pub counts: &'a Counts,
}

/// What a dispatch of [`Rows`] is about: a segment of the trace.
pub(super) struct TraceSegment<'a> {
    out: &'a DeviceBuffer<F>,
    first_column: u32,
    columns: u32,
}

impl Rows<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { kernel, records, used, first, rows, trace, .. } = *self;
        assert!(used <= rows && first + rows <= trace.height(), "rows of a trace");
        assert!(used * kernel.layout.words() <= records.len(), "records of rows");
        assert_eq!(trace.width(), kernel.columns, "columns of a chip");
        for segment in trace.segments() {
            let columns = segment.columns.clone();
            let part = TraceSegment {
                out: &segment.buffer,
                first_column: columns.start as u32,
                columns: columns.len() as u32,
            };
            (kernel.dispatch)(rec, self, part);
        }
    }
}

/// Declares a chip's kernel, a constant `$name` that says what of upstream's it is for, and a test against that: of random records that
/// `record` makes, for an adapter of so many columns.
macro_rules! trace_kernel {
    (
        $(#[$meta:meta])*
        $name:ident = $kernel:ident($path:literal) {
            chip: $chip:ty,
            columns: $columns:expr,
            layout: $layout:expr,
            adapter_columns: $adapter_columns:expr,
            record: $record:expr $(,)?
        }
    ) => {
        $crate::kernel! {
            $(#[$meta])*
            struct $kernel($path, workgroup = 256) {
                buffers {
                    read records: u32,
                    write out: openvm_stark_sdk::config::baby_bear_poseidon2::F,
                    write counts: u32 as atomic<u32>,
                }
                params {
                    first_row,
                    rows,
                    used,
                    height,
                    first_column,
                    columns,
                    range_bits,
                    timestamp_bits,
                    pointer_bits,
                    bitwise_at,
                    tuples_at,
                    tuple_size,
                }
            }
        }

        $(#[$meta])*
        pub(super) const $name: $crate::kernels::openvm::TraceKernel = $crate::kernels::openvm::TraceKernel {
            decl: <$kernel as $crate::gpu::Kernel>::DECL,
            is: |chip| chip.is::<$chip>(),
            columns: $columns,
            layout: $layout,
            dispatch: |rec, rows, part| {
                let tables = rows.counts.tables();
                let kernel = $kernel {
                    records: rows.records,
                    out: part.out,
                    counts: rows.counts.buffer(),
                    first_row: rows.first as u32,
                    rows: rows.rows as u32,
                    used: rows.used as u32,
                    height: rows.trace.height() as u32,
                    first_column: part.first_column,
                    columns: part.columns,
                    range_bits: tables.range_bits,
                    timestamp_bits: tables.timestamp_bits,
                    pointer_bits: tables.pointer_bits,
                    bitwise_at: tables.bitwise_at(),
                    tuples_at: tables.tuples_at(),
                    tuple_size: tables.tuple_sizes[1],
                };
                rec.dispatch(&kernel, $crate::gpu::Grid::threads(rows.rows));
            },
        };

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn rows_equal_upstreams() {
                $crate::kernels::openvm::testing::assert_equals_upstream(&$name, $adapter_columns, $record);
            }
        }
    };
}

use trace_kernel;

/// The layout of a record of one row, of upstream's two parts.
const fn row_of<A, C>() -> Layout {
    let core = size_of::<A>();
    assert!(core.is_multiple_of(align_of::<C>()) && align_of::<A>() <= 4 && align_of::<C>() <= 4);
    Layout::Row { bytes: (core + size_of::<C>()).next_multiple_of(4), core }
}

impl Layout {
    /// Words of what the kernel reads for a row.
    pub const fn words(self) -> usize {
        match self {
            Self::Row { bytes, .. } => bytes / 4,
            Self::Rows { head, row } => (head + row) / 4 + 1,
        }
    }

    /// What the kernel reads of whole records.
    fn rows(self, records: &[u32]) -> Cow<'_, [u32]> {
        let Self::Rows { head, row } = self else { return records.into() };
        let (mut rows, mut rest) = (vec![], records);
        while let [count, ..] = *rest {
            let (head, tail) = rest.split_at(head / 4);
            let (parts, others) = tail.split_at(count as usize * row / 4);
            for (index, part) in parts.chunks_exact(row / 4).enumerate() {
                rows.extend_from_slice(head);
                rows.push(index as u32);
                rows.extend_from_slice(part);
            }
            rest = others;
        }
        rows.into()
    }
}

/// The trace of a chip whose records come in parts, in order: whole records each.
///
/// What goes wrong is reported by the proof ([`DeviceMatrix::failed`]), since chips have no way to return an error.
pub fn fill_trace(gpu: &Gpu, kernel: &'static TraceKernel, parts: &[&[u32]], counts: &Counts) -> DeviceMatrix<F> {
    let parts: Vec<Cow<[u32]>> = parts.iter().map(|part| kernel.layout.rows(part)).collect();
    let used: usize = parts.iter().map(|part| part.len() / kernel.layout.words()).sum();
    let height = if used == 0 { 0 } else { used.next_power_of_two() };
    let fill = || {
        let trace = DeviceMatrix::alloc(gpu, height, kernel.columns, "trace")?;
        fill_rows(gpu, kernel, &parts, &trace, counts)?;
        Ok(trace)
    };
    fill().unwrap_or_else(|error| DeviceMatrix::failed(height, kernel.columns, error))
}

/// Fills all rows of a trace, as many at once as one binding holds records of.
fn fill_rows(
    gpu: &Gpu,
    kernel: &'static TraceKernel,
    parts: &[Cow<[u32]>],
    trace: &DeviceMatrix<F>,
    counts: &Counts,
) -> Result<()> {
    let words = kernel.layout.words();
    let most = (gpu.capabilities().max_segment_bytes as usize / (4 * words)).max(1) * words;
    let pieces = parts.iter().flat_map(|part| part.chunks(most));
    let pieces = pieces.scan(0, |next, piece| {
        let first = *next;
        *next += piece.len() / words;
        Some((first, *next, piece))
    });
    let pieces: Vec<(usize, usize, &[u32])> = pieces.collect();
    let end_of_records = pieces.last().map_or(0, |(_, end, _)| *end);
    pieces.into_par_iter().try_for_each(|(first, end, piece)| {
        let records = gpu.upload(piece, "records")?;
        // the last piece pads
        let rows = if end == end_of_records { trace.height() - first } else { end - first };
        let mut rec = gpu.recorder("trace");
        Rows { kernel, records: &records, used: end - first, first, rows, trace, counts }.record(&mut rec);
        rec.submit()
    })
}
