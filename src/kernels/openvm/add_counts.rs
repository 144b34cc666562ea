//! Counts of lookups on the device, and what adds them to the tables (`wgsl/openvm/{counts,add_counts}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, DeviceMatrix, Gpu, Grid, Kernel, KernelDecl},
    kernel,
};

kernel! {
    /// out[first_out + i] += counts[first + i]
    struct AddCounts("openvm/add_counts.wgsl", workgroup = 256) {
        buffers { read counts: u32, write out: F }
        params { first, len, first_out }
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
    /// Values of the two places of the range tuple checker; zeros where there is none.
    pub tuple_sizes: [u32; 2],
}

impl Tables {
    /// Where the counts of the bitwise table begin.
    pub(super) fn bitwise_at(&self) -> u32 {
        2 << self.range_bits
    }

    /// Where those of tuples begin.
    pub(super) fn tuples_at(&self) -> u32 {
        self.bitwise_at() + 2 * PAIRS
    }

    fn len(&self) -> u32 {
        self.tuples_at() + self.tuples()
    }

    fn tuples(&self) -> u32 {
        self.tuple_sizes[0] * self.tuple_sizes[1]
    }
}

/// A table whose trace has multiplicities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The variable range checker.
    Ranges,
    /// Ranges and XORs of bytes.
    Bitwise,
    /// The range tuple checker.
    Tuples,
}

/// How often a segment looks up what.
pub struct Counts {
    tables: Tables,
    buffer: DeviceBuffer<u32>,
}

impl Counts {
    /// What adds them to tables.
    pub const KERNEL: &'static KernelDecl = AddCounts::DECL;

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

    /// Adds the counts to the multiplicities of a table's trace, whatever these are.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn add_to(&self, gpu: &Gpu, table: Table, trace: &DeviceMatrix<F>) -> Result<()> {
        let tables = &self.tables;
        let (len, places) = match table {
            Table::Ranges => (tables.bitwise_at(), vec![(0, 3)]),
            Table::Bitwise => {
                let at = tables.bitwise_at();
                (PAIRS, vec![(at, 16), (at + PAIRS, 17)])
            }
            Table::Tuples => (tables.tuples(), vec![(tables.tuples_at(), 2)]),
        };
        assert_eq!(trace.height(), len as usize, "rows of a lookup table");
        let mut rec = gpu.recorder("trace");
        for (first, column) in places {
            let segment = trace.segment_of(column);
            let first_out = (column - segment.columns.start) as u32 * len;
            let kernel = AddCounts { counts: &self.buffer, out: &segment.buffer, first, len, first_out };
            rec.dispatch(&kernel, Grid::threads(len as usize));
        }
        rec.submit()
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn counts_are_added_to_multiplicities() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(15);
        let tables = Tables { range_bits: 9, timestamp_bits: 18, pointer_bits: 29, tuple_sizes: [4, 16] };
        let counts: Vec<u32> =
            (0..tables.len()).map(|_| rng.random_range(0..u32::MAX) >> rng.random_range(0..32)).collect();
        let counted = Counts { tables, buffer: gpu.upload(&counts, "counts").unwrap() };
        let bitwise = [(16, 1024), (17, 1024 + (1 << 16))];
        for (table, height, width, places) in [
            (Table::Ranges, 1024, 4, &[(3, 0)][..]),
            (Table::Bitwise, 1 << 16, 18, &bitwise),
            (Table::Tuples, 64, 3, &[(2, 1024 + (2 << 16))]),
        ] {
            let mut cells: Vec<F> = (0..height * width).map(|_| rng.random()).collect();
            let trace = DeviceMatrix::upload(&gpu, &cells, height, width, "table").unwrap();
            counted.add_to(&gpu, table, &trace).unwrap();
            for (column, first) in places {
                for row in 0..height {
                    cells[column * height + row] += F::from_u32(counts[first + row]);
                }
            }
            assert!(trace.download(&gpu).unwrap() == cells, "{table:?}");
        }
    }
}
