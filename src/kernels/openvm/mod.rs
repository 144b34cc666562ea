//! Traces of chips out of the records of their executions (`wgsl/openvm`), a file for each chip.
//!
//! A chip's kernel fills the columns where the commitment reads them, a thread a row, and counts what it looks up. The counts stay on the
//! device, where the tables' traces are made of them.

mod auipc;
mod base_alu;
mod bigint;
mod branch_equal;
mod branch_less_than;
mod div_rem;
mod hint_store;
mod jal_lui;
mod jalr;
mod keccak;
mod less_than;
mod load_sign_extend;
mod load_store;
mod mul;
mod mulh;
mod poseidon2;
mod sha2;
mod shift;
mod tables;
#[cfg(test)]
mod testing;

use std::{any::Any, borrow::Cow, sync::Arc};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use rayon::prelude::*;

pub use self::{
    poseidon2::{Permutations, Request},
    tables::{Counts, Table, Tables},
};
use crate::{
    error::{Error, Result},
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
    /// Rows that the kernel makes of what it reads at once.
    pub rows: usize,
    /// What else is made of the records.
    pub periphery: Option<Periphery>,
    dispatch: fn(&mut Recorder, &Rows, TraceSegment),
}

/// A chip without records of its own: its trace is made of those of the chip that is added behind it, as upstream's chips do through a lock.
#[derive(Clone, Copy)]
pub struct Periphery {
    /// The name of its AIR. Types of such chips may be private.
    pub air: &'static str,
    /// What makes the trace.
    pub kernel: &'static TraceKernel,
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
    /// A record a row, of so many bytes. The kernel reads the record before the first one and that behind the last as well, as if the first
    /// of all followed on the last.
    Ring {
        /// Of each.
        bytes: usize,
    },
    /// Records of so many bytes that are another chip's ([`Periphery`]).
    Shared {
        /// Of each.
        bytes: usize,
    },
}

/// All chips that have a kernel.
pub const TRACE_KERNELS: [&TraceKernel; 24] = [
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
    &keccak::XORIN,
    &keccak::KECCAKF_OP,
    &bigint::base_alu::BASE_ALU,
    &bigint::less_than::LESS_THAN,
    &bigint::branch_equal::BRANCH_EQUAL,
    &bigint::branch_less_than::BRANCH_LESS_THAN,
    &bigint::mul::MUL,
    &bigint::shift::SHIFT,
    &sha2::SHA256,
    &sha2::SHA512,
];

impl TraceKernel {
    /// The kernel of a chip of the CPU machine, if it has one.
    pub fn of(chip: &dyn Any) -> Option<&'static Self> {
        TRACE_KERNELS.into_iter().find(|kernel| (kernel.is)(chip))
    }

    /// What makes traces of the chip's records: its own, then those of its periphery.
    fn with_periphery(&'static self) -> impl Iterator<Item = &'static Self> {
        [Some(self), self.periphery.map(|periphery| periphery.kernel)].into_iter().flatten()
    }

    /// The height of a trace of so many times what the kernel reads at once.
    fn height(&self, records: usize) -> usize {
        if records == 0 {
            0
        } else {
            (records * self.rows).next_power_of_two()
        }
    }
}

/// All kernels of this module.
pub fn kernels() -> Vec<&'static KernelDecl> {
    let kernels = TRACE_KERNELS.into_iter().flat_map(|kernel| kernel.with_periphery());
    kernels.map(|kernel| kernel.decl).chain([Counts::KERNEL, Permutations::KERNEL]).collect()
}

/// Rows of a trace that have records, and perhaps those that pad it.
pub struct Rows<'a> {
    /// Of which chip.
    pub kernel: &'static TraceKernel,
    /// `kernel.layout.words()` for `kernel.rows` rows.
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
        assert!(used / kernel.rows * kernel.layout.words() <= records.len(), "records of rows");
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
/// `record` makes, for an adapter of so many columns. Tuples are counted in RV32M's table, or in what the function `tuples` of [`Tables`]
/// says. A chip without records has no test of its own: what it makes is compared where they are another chip's.
macro_rules! trace_kernel {
    (
        $(#[$meta:meta])*
        $name:ident = $kernel:ident($path:literal) {
            chip: $chip:ty,
            columns: $columns:expr,
            layout: $layout:expr,
            $( periphery: $periphery:expr, )?
            adapter_columns: $adapter_columns:expr,
            $( tuples: $tuples:ident, )?
            record: $record:expr $(,)?
        }
    ) => {
        $crate::kernels::openvm::trace_kernel! {
            @declare
            $(#[$meta])*
            $name = $kernel($path, 256) {
                is: |chip| chip.is::<$chip>(),
                columns: $columns,
                layout: $layout,
                rows: 1,
                periphery: [ $( $periphery )? ].first().copied(),
                tuples: [ $( $tuples )? ],
                grid: $crate::gpu::Grid::threads,
            }
        }

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn rows_equal_upstreams() {
                $crate::kernels::openvm::testing::assert_equals_upstream(&$name, $adapter_columns, $record);
            }
        }
    };
    (
        $(#[$meta:meta])*
        $name:ident = $kernel:ident($path:literal, workgroup = $workgroup:literal) {
            columns: $columns:expr,
            layout: $layout:expr,
            rows: $rows:expr,
            grid: $grid:expr $(,)?
        }
    ) => {
        $crate::kernels::openvm::trace_kernel! {
            @declare
            $(#[$meta])*
            $name = $kernel($path, $workgroup) {
                is: |_| false,
                columns: $columns,
                layout: $layout,
                rows: $rows,
                periphery: None,
                tuples: [],
                grid: $grid,
            }
        }
    };
    (
        @declare
        $(#[$meta:meta])*
        $name:ident = $kernel:ident($path:literal, $workgroup:literal) {
            is: $is:expr,
            columns: $columns:expr,
            layout: $layout:expr,
            rows: $rows:expr,
            periphery: $periphery:expr,
            tuples: [ $( $tuples:ident )? ],
            grid: $grid:expr,
        }
    ) => {
        $crate::kernel! {
            $(#[$meta])*
            struct $kernel($path, workgroup = $workgroup) {
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
        pub(in $crate::kernels::openvm) const $name: $crate::kernels::openvm::TraceKernel = $crate::kernels::openvm::TraceKernel {
            decl: <$kernel as $crate::gpu::Kernel>::DECL,
            is: $is,
            columns: $columns,
            layout: $layout,
            rows: $rows,
            periphery: $periphery,
            dispatch: |rec, rows, part| {
                let tables = rows.counts.tables();
                let tuples = $crate::kernels::openvm::trace_kernel!(@tuples tables $( $tuples )?);
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
                    tuples_at: tuples.first,
                    tuple_size: tuples.second_size,
                };
                rec.dispatch(&kernel, $grid(rows.rows));
            },
        };
    };
    (@tuples $tables:ident) => { $tables.tuples() };
    (@tuples $tables:ident $tuples:ident) => { $tables.$tuples() };
}

use trace_kernel;

/// The layout of a record of one row, of upstream's two parts.
const fn row_of<A, C>() -> Layout {
    let core = size_of::<A>();
    assert!(core.is_multiple_of(align_of::<C>()) && align_of::<A>() <= 4 && align_of::<C>() <= 4);
    Layout::Row { bytes: (core + size_of::<C>()).next_multiple_of(4), core }
}

impl Layout {
    /// Words of what the kernel reads at once: for a row, or for those that it makes of a record.
    pub const fn words(self) -> usize {
        match self {
            Self::Row { bytes, .. } | Self::Ring { bytes } | Self::Shared { bytes } => bytes / 4,
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

/// The traces of a chip whose records come in parts, in order: whole records each. First is its own, then that of its periphery.
///
/// What goes wrong is reported by the proof ([`DeviceMatrix::failed`]), since chips have no way to return an error.
pub fn fill_traces(gpu: &Gpu, kernel: &'static TraceKernel, parts: &[&[u32]], counts: &Counts) -> Vec<DeviceMatrix<F>> {
    let parts: Vec<Cow<[u32]>> = parts.iter().map(|part| kernel.layout.rows(part)).collect();
    let records = parts.iter().map(|part| part.len() / kernel.layout.words()).sum();
    let fill = || -> Result<_> {
        let alloc = |kernel: &TraceKernel| DeviceMatrix::alloc(gpu, kernel.height(records), kernel.columns, "trace");
        let traces = kernel.with_periphery().map(alloc).collect::<Result<Vec<_>>>()?;
        fill_rows(gpu, kernel, &parts, &traces, counts)?;
        Ok(traces)
    };
    fill().unwrap_or_else(|error| {
        let error = Arc::new(error);
        let failed = |kernel: &TraceKernel| {
            DeviceMatrix::failed(kernel.height(records), kernel.columns, Error::Deferred(error.clone()))
        };
        kernel.with_periphery().map(failed).collect()
    })
}

/// Fills all rows of the traces, as many at once as one binding holds records of.
fn fill_rows(
    gpu: &Gpu,
    kernel: &'static TraceKernel,
    parts: &[Cow<[u32]>],
    traces: &[DeviceMatrix<F>],
    counts: &Counts,
) -> Result<()> {
    let words = kernel.layout.words();
    let neighbours = if matches!(kernel.layout, Layout::Ring { .. }) { 2 } else { 0 };
    let most = (gpu.capabilities().max_segment_bytes as usize / (4 * words)).saturating_sub(neighbours).max(1) * words;
    let pieces = parts.iter().flat_map(|part| part.chunks(most));
    let pieces = pieces.scan(0, |next, piece| {
        let first = *next;
        *next += piece.len() / words;
        Some((first, *next, piece))
    });
    let pieces: Vec<(usize, usize, &[u32])> = pieces.collect();
    let end_of_records = pieces.last().map_or(0, |(_, end, _)| *end);
    (0..pieces.len()).into_par_iter().try_for_each(|index| {
        let (first, end, piece) = pieces[index];
        let records = if neighbours > 0 {
            gpu.upload(&with_neighbours(&pieces, index, words), "records")?
        } else {
            gpu.upload(piece, "records")?
        };
        let mut rec = gpu.recorder("trace");
        for (kernel, trace) in kernel.with_periphery().zip(traces) {
            let (first, used) = (first * kernel.rows, (end - first) * kernel.rows);
            // the last piece pads
            let rows = if end == end_of_records { trace.height() - first } else { used };
            Rows { kernel, records: &records, used, first, rows, trace, counts }.record(&mut rec);
        }
        rec.submit()
    })
}

/// A piece with the records before and behind it.
fn with_neighbours(pieces: &[(usize, usize, &[u32])], index: usize, words: usize) -> Vec<u32> {
    let piece = |index: usize| pieces[index % pieces.len()].2;
    let before = piece(index + pieces.len() - 1);
    [&before[before.len() - words..], piece(index), &piece(index + 1)[..words]].concat()
}
