//! Which chips of a machine have their traces made on the device, and the lookup tables that these count in.

use std::{
    any::Any,
    sync::{
        atomic::{AtomicU32, Ordering},
        Arc,
    },
};

use openvm_bigint_circuit::Rv32Multiplication256Chip;
use openvm_circuit::{
    arch::ChipInventory,
    primitives::{
        bitwise_op_lookup::SharedBitwiseOperationLookupChip, range_tuple::SharedRangeTupleCheckerChip,
        var_range::SharedVariableRangeCheckerChip,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_rv32im_circuit::Rv32MultiplicationChip;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use rayon::prelude::*;

use crate::kernels::openvm::{Periphery, Table, Tables, TraceKernel};

type Inventory<RA> = ChipInventory<BabyBearPoseidon2Config, RA, CpuBackend<BabyBearPoseidon2Config>>;

/// What of a machine is on the device.
pub(super) struct DeviceChips {
    /// By the chips' numbers.
    kernels: Vec<Option<&'static TraceKernel>>,
    /// The tables' sizes, and the numbers of their chips; nothing where a table is missing.
    tables: Option<(Tables, Vec<(usize, Table)>)>,
}

impl DeviceChips {
    /// What of a CPU machine's chips can be on the device.
    pub(super) fn of<RA>(chips: &Inventory<RA>) -> Self {
        let tables = tables(chips);
        let kernels = if tables.is_some() { kernels(chips) } else { vec![None; chips.chips().len()] };
        Self { kernels, tables }
    }

    /// The kernels of the machine's `airs` AIRs, which come in the reverse order of their chips, behind the system's.
    pub(super) fn kernels_by_air(&self, airs: usize) -> Vec<Option<&'static TraceKernel>> {
        let system = airs - self.kernels.len();
        std::iter::repeat_n(None, system).chain(self.kernels.iter().rev().copied()).collect()
    }

    /// The tables that the chips count in.
    pub(super) fn tables(&self) -> Option<Tables> {
        self.tables.as_ref().map(|(tables, _)| *tables)
    }

    /// Which table a chip is.
    pub(super) fn table(&self, chip: usize) -> Option<Table> {
        let (_, chips) = self.tables.as_ref()?;
        chips.iter().find(|(index, _)| *index == chip).map(|(_, table)| *table)
    }
}

fn kernels<RA>(chips: &Inventory<RA>) -> Vec<Option<&'static TraceKernel>> {
    let mut kernels = vec![None; chips.chips().len()];
    for (chip, kernel) in
        chips.chips().iter().enumerate().filter_map(|(i, chip)| Some((i, TraceKernel::of(chip.as_any())?)))
    {
        if let Some(Periphery { air, kernel }) = kernel.periphery {
            // else both are the host's, where one hands its records on to the other
            let Some(before) = chip.checked_sub(1).filter(|before| chips.airs().ext_airs()[*before].name() == air)
            else {
                continue;
            };
            kernels[before] = Some(kernel);
        }
        kernels[chip] = Some(kernel);
    }
    kernels
}

fn tables<RA>(chips: &Inventory<RA>) -> Option<(Tables, Vec<(usize, Table)>)> {
    let (ranges_at, ranges) = find::<SharedVariableRangeCheckerChip, _>(chips, |_| true)?;
    // as upstream's extensions, which take the first that there is
    let (bitwise_at, _) = find::<SharedBitwiseOperationLookupChip<8>, _>(chips, |_| true)?;
    let mut tables = vec![(ranges_at, Table::Ranges), (bitwise_at, Table::Bitwise)];
    let mut tuple_sizes = [[0; 2]; 2];
    let mul = find::<Rv32MultiplicationChip<F>, _>(chips, |_| true).map(|(_, chip)| &chip.inner.range_tuple_chip);
    let wide = find::<Rv32Multiplication256Chip<F>, _>(chips, |_| true).map(|(_, chip)| &chip.inner.range_tuple_chip);
    // one table serves both if it is large enough
    let wide = wide.filter(|wide| mul.is_none_or(|mul| !Arc::ptr_eq(mul, wide)));
    for (own, table, sizes) in [(mul, Table::Tuples, 0), (wide, Table::WideTuples, 1)] {
        let Some(own) = own else { continue };
        let (at, tuples) = find(chips, |chip: &SharedRangeTupleCheckerChip<2>| Arc::ptr_eq(chip, own))?;
        tables.push((at, table));
        tuple_sizes[sizes] = *tuples.sizes();
    }
    let sizes = Tables {
        range_bits: ranges.range_max_bits() as u32,
        timestamp_bits: chips.timestamp_max_bits() as u32,
        pointer_bits: chips.airs().pointer_max_bits() as u32,
        tuple_sizes,
    };
    Some((sizes, tables))
}

/// What a table of the host has counted, of which it has nothing more then.
pub(super) fn take_counts(chip: &dyn Any, table: Table) -> Vec<u32> {
    const KIND: &str = "a chip of this table";
    let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
    match table {
        Table::Ranges => {
            let chip: &SharedVariableRangeCheckerChip = chip.downcast_ref().expect(KIND);
            chip.count.par_iter().map(take).collect()
        }
        Table::Bitwise => {
            let chip: &SharedBitwiseOperationLookupChip<8> = chip.downcast_ref().expect(KIND);
            chip.count_range.par_iter().chain(&chip.count_xor).map(take).collect()
        }
        Table::Tuples | Table::WideTuples => {
            let chip: &SharedRangeTupleCheckerChip<2> = chip.downcast_ref().expect(KIND);
            chip.count.par_iter().map(|count| take(count)).collect()
        }
    }
}

/// The first chip of a kind, with its number.
fn find<C: 'static, RA>(chips: &Inventory<RA>, is: impl Fn(&C) -> bool) -> Option<(usize, &C)> {
    let chips = chips.chips().iter().enumerate();
    chips.filter_map(|(index, chip)| Some((index, chip.as_any().downcast_ref::<C>()?))).find(|(_, chip)| is(chip))
}

#[cfg(test)]
mod tests {
    use openvm_bigint_circuit::{Int256Rv32Config, Int256Rv32CpuBuilder};
    use openvm_circuit::arch::{VmBuilder, VmCircuitConfig};
    use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};

    use super::*;
    use crate::{
        kernels::openvm::{Counts, Permutations},
        openvm::HostEngine,
    };

    fn machine<B: VmBuilder<HostEngine>>(builder: &B, config: &B::VmConfig) -> DeviceChips {
        let airs = config.create_airs().unwrap();
        DeviceChips::of(&builder.create_chip_complex(config, airs, &()).unwrap().inventory)
    }

    #[test]
    fn all_chips_with_kernels_are_on_the_device() {
        let machines = [
            (machine(&SdkVmCpuBuilder, &SdkVmConfig::riscv32()), vec![], [2048, 0]),
            (machine(&SdkVmCpuBuilder, &SdkVmConfig::standard()), vec!["keccak", "bigint", "sha2"], [8192, 0]),
            (machine(&Int256Rv32CpuBuilder, &Int256Rv32Config::default()), vec!["bigint"], [2048, 8192]),
        ];
        for (machine, extensions, tuples) in machines {
            let airs = machine.kernels.len() + 5;
            let kernels = machine.kernels_by_air(airs);
            assert_eq!(kernels.len(), airs);
            assert!(kernels[..5].iter().all(Option::is_none));
            for kernel in crate::kernels::openvm::kernels() {
                let path: Vec<&str> = kernel.path.split('/').collect();
                let is_there = path.len() == 2 || extensions.contains(&path[1]);
                let chips = kernels.iter().flatten().filter(|of| of.decl.path == kernel.path);
                let is_table = [Counts::KERNEL, Permutations::KERNEL].iter().any(|table| table.path == kernel.path);
                assert_eq!(chips.count(), usize::from(is_there && !is_table), "{}", kernel.path);
            }
            let wide = usize::from(tuples[1] > 0);
            for (table, expected) in
                [(Table::Ranges, 1), (Table::Bitwise, 1), (Table::Tuples, 1), (Table::WideTuples, wide)]
            {
                let chips = (0..machine.kernels.len()).filter(|chip| machine.table(*chip) == Some(table));
                assert_eq!(chips.count(), expected, "{table:?}");
            }
            let tables = machine.tables().unwrap();
            assert!(tables.range_bits >= 15);
            assert_eq!(tables.tuple_sizes.map(|sizes| sizes[1]), tuples);
        }
    }
}
