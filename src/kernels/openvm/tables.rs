//! Lookup tables: counts on the device, and the tables' traces out of them (`wgsl/openvm/{counts,table}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, DeviceMatrix, Gpu, Grid, Kernel, KernelDecl},
    kernel,
};

kernel! {
    /// The trace of a lookup table.
    struct TableRows("openvm/table.wgsl", workgroup = 256) {
        buffers { read counts: u32, read host_counts: u32, write out: F }
        params { table, height, first_column, columns, first, tuple_size }
    }
}

/// Pairs of bytes.
const PAIRS: u32 = 1 << 16;

/// The lookup tables of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The most bits of the variable range checker.
    pub range_bits: u32,
    /// Bits of a timestamp, which has two limbs: at most twice as many.
    pub timestamp_bits: u32,
    /// Bits of a pointer into memory.
    pub pointer_bits: u32,
    /// Values of the two places of range tuple checkers: of RV32M's, and of that for products of 256 bits where it is another one; zeros
    /// where there is none.
    pub tuple_sizes: [[u32; 2]; 2],
}

impl Tables {
    /// Where the counts of the bitwise table begin.
    pub(super) fn bitwise_at(&self) -> u32 {
        2 << self.range_bits
    }

    /// Where those of tuples begin, and how many values their second place has.
    pub(super) fn tuples(&self) -> TupleCounts {
        TupleCounts::new(self.bitwise_at() + 2 * PAIRS, self.tuple_sizes[0])
    }

    /// The same for products of 256 bits, which have a table of their own or count in RV32M's.
    pub(super) fn wide_tuples(&self) -> TupleCounts {
        let shared = self.tuples();
        let own = TupleCounts::new(shared.first + shared.len, self.tuple_sizes[1]);
        if own.len > 0 {
            own
        } else {
            shared
        }
    }

    fn len(&self) -> u32 {
        let last = self.wide_tuples();
        last.first + last.len
    }

    /// Rows and columns of a table, the number of its counts and where they begin.
    fn shape(&self, table: Table) -> TableShape {
        let of_tuples = |tuples: TupleCounts| (tuples.len, 3, 1, tuples.first);
        let (height, width, counts, first) = match table {
            Table::Ranges => (self.bitwise_at(), 4, 1, 0),
            Table::Bitwise => (PAIRS, 18, 2, self.bitwise_at()),
            Table::Tuples => of_tuples(self.tuples()),
            Table::WideTuples => of_tuples(self.wide_tuples()),
        };
        TableShape { height: height as usize, width, counts: counts * height as usize, first }
    }

    /// Values of the second place of a table of tuples.
    fn second_size(&self, table: Table) -> u32 {
        let tuples = if table == Table::WideTuples { self.wide_tuples() } else { self.tuples() };
        tuples.second_size.max(1)
    }
}

/// The counts of a range tuple checker.
#[derive(Clone, Copy)]
pub(super) struct TupleCounts {
    /// Where they begin.
    pub first: u32,
    /// Values of the second place.
    pub second_size: u32,
    len: u32,
}

impl TupleCounts {
    fn new(first: u32, sizes: [u32; 2]) -> Self {
        Self { first, second_size: sizes[1], len: sizes[0] * sizes[1] }
    }
}

struct TableShape {
    height: usize,
    width: usize,
    counts: usize,
    first: u32,
}

/// A table of lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The variable range checker.
    Ranges,
    /// Ranges and XORs of bytes.
    Bitwise,
    /// The range tuple checker of RV32M.
    Tuples,
    /// That of products of 256 bits, if it is another one.
    WideTuples,
}

/// How often a segment looks up what.
pub struct Counts {
    tables: Tables,
    buffer: DeviceBuffer<u32>,
}

impl Counts {
    /// What makes the tables' traces.
    pub const KERNEL: &'static KernelDecl = TableRows::DECL;

    /// Nothing is counted yet.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu, tables: Tables) -> Result<Self> {
        let buffer = gpu.alloc(tables.len() as usize, "counts of lookups")?;
        let mut rec = gpu.recorder("trace");
        rec.clear(&buffer);
        rec.submit()?;
        Ok(Self { tables, buffer })
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn buffer(&self) -> &DeviceBuffer<u32> {
        &self.buffer
    }

    /// The trace of a table, with what the host's chips have counted: in upstream's order, for [`Table::Bitwise`] the ranges and then the XORs.
    ///
    /// What goes wrong is reported by the proof ([`DeviceMatrix::failed`]), since chips have no way to return an error.
    pub fn trace(&self, gpu: &Gpu, table: Table, host_counts: &[u32]) -> DeviceMatrix<F> {
        let TableShape { height, width, .. } = self.tables.shape(table);
        self.fill(gpu, table, host_counts).unwrap_or_else(|error| DeviceMatrix::failed(height, width, error))
    }

    fn fill(&self, gpu: &Gpu, table: Table, host_counts: &[u32]) -> Result<DeviceMatrix<F>> {
        let TableShape { height, width, counts, first } = self.tables.shape(table);
        assert_eq!(host_counts.len(), counts, "counts of a lookup table");
        let host_counts = gpu.upload(host_counts, "counts of lookups")?;
        let trace = DeviceMatrix::alloc(gpu, height, width, "trace")?;
        let mut rec = gpu.recorder("trace");
        for segment in trace.segments() {
            let kernel = TableRows {
                counts: &self.buffer,
                host_counts: &host_counts,
                out: &segment.buffer,
                table: table as u32,
                height: height as u32,
                first_column: segment.columns.start as u32,
                columns: segment.columns.len() as u32,
                first,
                tuple_size: self.tables.second_size(table),
            };
            rec.dispatch(&kernel, Grid::threads(height));
        }
        rec.submit()?;
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use openvm_circuit::primitives::{
        bitwise_op_lookup::{BitwiseOperationLookupBus, BitwiseOperationLookupChip},
        range_tuple::{RangeTupleCheckerBus, RangeTupleCheckerChip},
        var_range::{VariableRangeCheckerBus, VariableRangeCheckerChip},
    };
    use openvm_stark_backend::{p3_matrix::dense::RowMajorMatrix, prover::ColMajorMatrix};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::{gpu::testing, kernels::wgsl_constant};

    const TABLES: Tables =
        Tables { range_bits: 9, timestamp_bits: 18, pointer_bits: 29, tuple_sizes: [[4, 16], [8, 4]] };

    /// Upstream's trace with these counts.
    fn upstreams(table: Table, counts: &[u32]) -> RowMajorMatrix<F> {
        match table {
            Table::Ranges => {
                let chip = VariableRangeCheckerChip::new(VariableRangeCheckerBus::new(0, TABLES.range_bits as usize));
                chip.count.iter().zip(counts).for_each(|(to, count)| to.store(*count, Ordering::Relaxed));
                chip.generate_trace()
            }
            Table::Bitwise => {
                let chip = BitwiseOperationLookupChip::<8>::new(BitwiseOperationLookupBus::new(0));
                let places = chip.count_range.iter().chain(&chip.count_xor);
                places.zip(counts).for_each(|(to, count)| to.store(*count, Ordering::Relaxed));
                chip.generate_trace()
            }
            Table::Tuples | Table::WideTuples => {
                let sizes = TABLES.tuple_sizes[usize::from(table == Table::WideTuples)];
                let chip = RangeTupleCheckerChip::new(RangeTupleCheckerBus::new(0, sizes));
                chip.count.iter().zip(counts).for_each(|(to, count)| to.store(*count, Ordering::Relaxed));
                chip.generate_trace()
            }
        }
    }

    #[test]
    fn tables_equal_upstreams() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(15);
        let mut random =
            |len| -> Vec<u32> { (0..len).map(|_| rng.random_range(0..1 << 31) >> rng.random_range(0..31)).collect() };
        let on_device = random(TABLES.len());
        let counts = Counts { tables: TABLES, buffer: gpu.upload(&on_device, "counts").unwrap() };
        for table in [Table::Ranges, Table::Bitwise, Table::Tuples, Table::WideTuples] {
            let TableShape { counts: len, first, .. } = TABLES.shape(table);
            let on_host = random(len as u32);
            let sums: Vec<u32> = on_device[first as usize..].iter().zip(&on_host).map(|(a, b)| a + b).collect();
            let found = counts.trace(&gpu, table, &on_host).download(&gpu).unwrap();
            let expected = ColMajorMatrix::from_row_major(&upstreams(table, &sums)).values;
            assert!(found == expected, "{table:?}");
        }
    }

    #[test]
    fn tables_have_their_numbers() {
        let constant = |name| wgsl_constant(TableRows::DECL.source, name);
        assert_eq!([constant("RANGES"), constant("BITWISE")], [Table::Ranges as u32, Table::Bitwise as u32]);
    }
}
