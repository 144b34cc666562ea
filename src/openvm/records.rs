//! Memory for the records of an execution.
//!
//! A chip whose trace is made on the device gets its records one behind the other, in blocks of a pool that serves segment after segment:
//! the system has provided that memory before, and nobody clears it. Upstream's chips turn records into a trace in place, and get a
//! matrix of zeros for that.

use std::sync::{Arc, Mutex, MutexGuard};

use openvm_circuit::arch::{
    AdapterCoreLayout, AdapterCoreMetadata, Arena, CustomBorrow, MatrixRecordArena, MultiRowLayout, MultiRowMetadata,
    RecordArena,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;

use super::huge_pages::Pages;
use crate::kernels::openvm::{Layout, TraceKernel};

/// Words of a block (8 MiB): enough for an upload of its own, little beside a segment's records.
const BLOCK: usize = 2 << 20;

/// The records of one chip.
pub struct ChipRecords(Records);

enum Records {
    Host(MatrixRecordArena<F>),
    Device(DenseRecords),
}

impl ChipRecords {
    /// Memory for records whose trace is made on the device.
    pub(super) fn on_device(kernel: &'static TraceKernel, pool: &Pool) -> Self {
        Self(Records::Device(DenseRecords { kernel, pool: pool.clone(), full: vec![], last: vec![], used: 0 }))
    }

    /// Memory for records that become a trace in place.
    pub(super) fn on_host(matrix: MatrixRecordArena<F>) -> Self {
        Self(Records::Host(matrix))
    }

    /// The records if there are any whose trace is made on the device, else memory for upstream's chip.
    pub(super) fn into_parts(self) -> Result<DenseRecords, MatrixRecordArena<F>> {
        match self.0 {
            Records::Host(matrix) => Err(matrix),
            Records::Device(records) if records.is_empty() => {
                Err(MatrixRecordArena::with_capacity(0, records.kernel.columns))
            }
            Records::Device(records) => Ok(records),
        }
    }

    /// The memory of a trace.
    ///
    /// # Panics
    ///
    /// If there are records whose trace is made on the device.
    pub(super) fn into_matrix(self) -> MatrixRecordArena<F> {
        self.into_parts().err().expect("records of a chip on the host")
    }
}

impl Arena for ChipRecords {
    fn with_capacity(height: usize, width: usize) -> Self {
        Self::on_host(MatrixRecordArena::with_capacity(height, width))
    }

    fn is_empty(&self) -> bool {
        match &self.0 {
            Records::Host(matrix) => matrix.is_empty(),
            Records::Device(records) => records.is_empty(),
        }
    }
}

impl<'a, M, R> RecordArena<'a, MultiRowLayout<M>, R> for ChipRecords
where
    [u8]: CustomBorrow<'a, R, MultiRowLayout<M>>,
    M: MultiRowMetadata,
{
    #[inline(always)]
    fn alloc(&'a mut self, layout: MultiRowLayout<M>) -> R {
        match &mut self.0 {
            Records::Host(matrix) => with_room(matrix, layout.metadata.get_num_rows()).alloc(layout),
            Records::Device(records) => records.rows(layout.metadata.get_num_rows()).custom_borrow(layout),
        }
    }
}

impl<'a, A, C, M> RecordArena<'a, AdapterCoreLayout<M>, (A, C)> for ChipRecords
where
    [u8]: CustomBorrow<'a, A, AdapterCoreLayout<M>> + CustomBorrow<'a, C, AdapterCoreLayout<M>>,
    M: AdapterCoreMetadata + Clone,
{
    #[inline(always)]
    fn alloc(&'a mut self, layout: AdapterCoreLayout<M>) -> (A, C) {
        match &mut self.0 {
            Records::Host(matrix) => with_room(matrix, 1).alloc(layout),
            Records::Device(records) => {
                let (adapter, core) = records.row();
                (adapter.custom_borrow(layout.clone()), core.custom_borrow(layout))
            }
        }
    }
}

/// Rows that a matrix begins with if nobody knows how many it will have.
const FIRST_ROWS: usize = 1 << 10;

/// How much larger a matrix becomes that is full: what is not used of it is never touched, so it costs nothing.
const GROWTH: usize = 4;

/// The matrix with room for `rows` more.
#[inline(always)]
fn with_room(matrix: &mut MatrixRecordArena<F>, rows: usize) -> &mut MatrixRecordArena<F> {
    if matrix.trace_offset + rows * matrix.width > matrix.trace_buffer.len() {
        grow(matrix, rows);
    }
    matrix
}

#[cold]
fn grow(matrix: &mut MatrixRecordArena<F>, rows: usize) {
    let used = matrix.trace_offset;
    let rows = (used / matrix.width.max(1) + rows).next_power_of_two().max(FIRST_ROWS) * GROWTH;
    let mut larger = F::zero_vec(rows * matrix.width);
    let _ = Pages::of(&mut larger, 0);
    larger[..used].copy_from_slice(&matrix.trace_buffer[..used]);
    matrix.trace_buffer = larger;
}

/// Records one behind the other.
pub(super) struct DenseRecords {
    kernel: &'static TraceKernel,
    pool: Pool,
    /// Blocks with as many words as are used.
    full: Vec<(Vec<u32>, usize)>,
    last: Vec<u32>,
    /// Bytes of the last block.
    used: usize,
}

impl DenseRecords {
    pub(super) fn kernel(&self) -> &'static TraceKernel {
        self.kernel
    }

    /// The records in order.
    pub(super) fn parts(&self) -> Vec<&[u32]> {
        let full = self.full.iter().map(|(block, words)| &block[..*words]);
        full.chain([&self.last[..self.used / 4]]).filter(|part| !part.is_empty()).collect()
    }

    fn is_empty(&self) -> bool {
        self.used == 0 && self.full.is_empty()
    }

    /// Memory for a record of one row: the adapter's and the core's.
    #[inline(always)]
    fn row(&mut self) -> (&mut [u8], &mut [u8]) {
        let Layout::Row { bytes, core } = self.kernel.layout else { unreachable!("a record for several rows") };
        self.take(bytes).split_at_mut(core)
    }

    /// Memory for a record of `rows` rows.
    fn rows(&mut self, rows: usize) -> &mut [u8] {
        let bytes = match self.kernel.layout {
            Layout::Rows { head, row } => head + rows * row,
            Layout::Row { bytes, .. } | Layout::Ring { bytes } if rows == 1 => bytes,
            layout => unreachable!("a record for {rows} rows in {layout:?}"),
        };
        self.take(bytes)
    }

    #[inline(always)]
    fn take(&mut self, bytes: usize) -> &mut [u8] {
        if self.used + bytes > 4 * self.last.len() {
            self.next_block(bytes);
        }
        let start = self.used;
        self.used += bytes;
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut self.last[..]);
        &mut block[start..self.used]
    }

    #[cold]
    fn next_block(&mut self, bytes: usize) {
        assert!(bytes <= 4 * BLOCK, "a record of {bytes} bytes");
        let block = std::mem::replace(&mut self.last, self.pool.take());
        if !block.is_empty() {
            self.full.push((block, self.used / 4));
        }
        self.used = 0;
    }
}

impl Drop for DenseRecords {
    fn drop(&mut self) {
        let last = std::mem::take(&mut self.last);
        let blocks = self.full.drain(..).map(|(block, _)| block).chain([last]);
        self.pool.lock().extend(blocks.filter(|block| !block.is_empty()));
    }
}

/// Blocks that are free.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u32>>>>);

impl Pool {
    fn take(&self) -> Vec<u32> {
        let free = self.lock().pop();
        free.unwrap_or_else(|| {
            let mut block = vec![0; BLOCK];
            // on huge pages, which are provided when they are touched
            let _ = Pages::of(&mut block, 0);
            block
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u32>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use openvm_circuit::arch::AdapterCoreEmptyMetadata;
    use openvm_rv32im_circuit::{
        adapters::{Rv32BaseAluAdapterExecutor, Rv32BaseAluAdapterRecord},
        BaseAluCoreRecord,
    };

    use super::*;
    use crate::kernels::openvm::TRACE_KERNELS;

    type AluLayout = AdapterCoreLayout<AdapterCoreEmptyMetadata<F, Rv32BaseAluAdapterExecutor<8>>>;

    fn base_alu() -> &'static TraceKernel {
        let name = "openvm/base_alu.wgsl";
        TRACE_KERNELS.into_iter().find(|kernel| kernel.decl.path == name).expect("base ALU has a kernel")
    }

    fn write(records: &mut ChipRecords, count: u32) {
        for i in 0..count {
            let (adapter, core): (&mut Rv32BaseAluAdapterRecord, &mut BaseAluCoreRecord<4>) =
                records.alloc(AluLayout::new());
            adapter.from_pc = i;
            adapter.writes_aux.prev_data = [1, 2, 3, 4];
            core.local_opcode = i as u8;
        }
    }

    #[test]
    fn records_lie_one_behind_the_other_in_blocks_of_the_pool() {
        let pool = Pool::default();
        let words = 13;
        let in_a_block = (BLOCK / words) as u32;
        for count in [1, in_a_block, in_a_block + 1, 2 * in_a_block + 5] {
            let mut records = ChipRecords::on_device(base_alu(), &pool);
            assert!(records.is_empty());
            write(&mut records, count);
            assert!(!records.is_empty());
            let records = records.into_parts().ok().expect("records for the device");
            let parts = records.parts();
            assert_eq!(parts.len(), count.div_ceil(in_a_block) as usize);
            let rows: Vec<&[u32]> = parts.iter().flat_map(|part| part.chunks_exact(words)).collect();
            assert_eq!(rows.len(), count as usize);
            for (i, row) in rows.iter().enumerate() {
                assert_eq!((row[0], row[9], row[12] & 0xff), (i as u32, 0x0403_0201, i as u32 & 0xff));
            }
        }
        assert_eq!(pool.lock().len(), 3, "blocks are used again");
    }

    #[test]
    fn chips_of_the_host_get_a_matrix() {
        let mut records = ChipRecords::with_capacity(3, 36);
        write(&mut records, 3);
        let matrix = records.into_matrix();
        assert_eq!((matrix.width, matrix.trace_offset, matrix.trace_buffer.len()), (36, 3 * 36, 4 * 36));
        let nothing = ChipRecords::on_device(base_alu(), &Pool::default()).into_matrix();
        assert_eq!((nothing.width, nothing.trace_offset), (36, 0));
    }
}
