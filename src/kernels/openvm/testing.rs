//! Chips against upstream's on the same records.

use std::sync::atomic::{AtomicU32, Ordering};

use openvm_circuit::{
    arch::{Arena, ChipInventory, MatrixRecordArena, VmBuilder, VmCircuitConfig},
    primitives::{
        bitwise_op_lookup::SharedBitwiseOperationLookupChip, range_tuple::SharedRangeTupleCheckerChip,
        var_range::SharedVariableRangeCheckerChip,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::prover::ColMajorMatrix;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, BabyBearPoseidon2CpuEngine, F};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{fill_trace, Counts, Layout, Tables, TraceKernel};
use crate::gpu::{testing, Gpu};

type SC = BabyBearPoseidon2Config;
type HostChips = ChipInventory<SC, MatrixRecordArena<F>, CpuBackend<SC>>;

/// What upstream's executors write.
pub(super) struct Random(StdRng);

impl Random {
    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.0.random_range(0..values.len())]
    }

    /// A value of a register, often one at which something changes, or one that was there before.
    pub(super) fn word(&mut self) -> u32 {
        let edges = [0, 1, 2, 255, 256, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff];
        match self.0.random_range(0..8) {
            0..5 => self.one_of(&edges),
            5 => self.0.random::<u32>() >> self.0.random_range(0..32),
            _ => self.0.random(),
        }
    }

    /// A byte below `values`, and whatever is in the three behind it.
    pub(super) fn packed(&mut self, values: u32) -> u32 {
        self.0.random_range(0..values) | self.0.random::<u32>() << 8
    }

    pub(super) fn register(&mut self) -> u32 {
        4 * self.0.random_range(0..32)
    }

    pub(super) fn register_or_none(&mut self) -> u32 {
        let register = self.register();
        self.one_of(&[register, u32::MAX])
    }

    pub(super) fn pc(&mut self) -> u32 {
        let pc = self.0.random_range(0..1 << 28) * 4;
        self.one_of(&[0, 4, (1 << 30) - 8, pc])
    }

    /// An integer mod p.
    pub(super) fn immediate(&mut self) -> u32 {
        let small = self.0.random_range(0..1 << 20);
        self.one_of(&[0, 1, small, 0x7800_0000, 0x7800_0000 - small])
    }

    /// Of 29 bits, with room for those of an instruction.
    pub(super) fn timestamp(&mut self) -> u32 {
        let any = self.0.random_range(1..(1 << 29) - 4000);
        self.one_of(&[1, 2, (1 << 17) + 1, (1 << 29) - 4000, any])
    }

    /// When something was accessed that is accessed at `now`.
    pub(super) fn before(&mut self, now: u32) -> u32 {
        let any = self.0.random_range(0..now);
        let recent = now - 1 - self.0.random_range(0..now.min(300));
        self.one_of(&[0, now - 1, recent, recent, now.saturating_sub(1 << 17), any])
    }

    pub(super) fn alu_adapter(&mut self) -> (Vec<u32>, [u32; 2]) {
        let timestamp = self.timestamp();
        let is_register = self.packed(2);
        let [b, mut c] = [self.word(), self.word()];
        let mut rs2 = self.register();
        if is_register & 0xff == 0 {
            // 16 bits with a sign, as 24 bits
            c = c as u16 as i16 as u32;
            rs2 = c & 0xff_ffff;
        }
        let record = vec![
            self.pc(),
            timestamp,
            self.register(),
            self.register(),
            rs2,
            is_register,
            self.before(timestamp),
            self.before(timestamp + 1),
            self.before(timestamp + 2),
            self.word(),
        ];
        (record, [b, c])
    }

    pub(super) fn branch_adapter(&mut self) -> Vec<u32> {
        let timestamp = self.timestamp();
        let reads = [self.before(timestamp), self.before(timestamp + 1)];
        vec![self.pc(), timestamp, self.register(), self.register(), reads[0], reads[1]]
    }

    pub(super) fn write_adapter(&mut self, may_be_none: bool) -> Vec<u32> {
        let timestamp = self.timestamp();
        let register = if may_be_none { self.register_or_none() } else { self.register() };
        vec![self.pc(), timestamp, register, self.before(timestamp), self.word()]
    }

    pub(super) fn mul_adapter(&mut self) -> Vec<u32> {
        let timestamp = self.timestamp();
        let registers = [self.register(), self.register(), self.register()];
        let accesses = [self.before(timestamp), self.before(timestamp + 1), self.before(timestamp + 2)];
        [&[self.pc(), timestamp][..], &registers, &accesses, &[self.word()]].concat()
    }

    pub(super) fn memory_adapter(&mut self) -> Vec<u32> {
        let timestamp = self.timestamp();
        let (offset, is_negative) = (self.word() & 0xffff, self.0.random_bool(0.5));
        let address = self.word() & 0x1fff_ffff;
        let extended = offset | if is_negative { 0xffff_0000 } else { 0 };
        let space = self.one_of(&[2, 3]);
        vec![
            self.pc(),
            timestamp,
            self.register(),
            address.wrapping_sub(extended),
            self.before(timestamp),
            self.register_or_none(),
            self.before(timestamp + 1),
            offset | u32::from(is_negative) << 16 | space << 24,
            self.before(timestamp + 2),
        ]
    }
}

/// A machine with upstream's chips.
struct Host {
    chips: HostChips,
    ranges: SharedVariableRangeCheckerChip,
    bitwise: SharedBitwiseOperationLookupChip<8>,
    tuples: SharedRangeTupleCheckerChip<2>,
    tables: Tables,
}

impl Host {
    fn new() -> Self {
        let config = SdkVmConfig::riscv32();
        let airs = VmCircuitConfig::<SC>::create_airs(&config).unwrap();
        let machine =
            VmBuilder::<BabyBearPoseidon2CpuEngine>::create_chip_complex(&SdkVmCpuBuilder, &config, airs, &()).unwrap();
        let chips = machine.inventory;
        let ranges = chips.range_checker().unwrap().clone();
        let bitwise = chips.find_chip::<SharedBitwiseOperationLookupChip<8>>().next().unwrap().clone();
        let tuples = chips.find_chip::<SharedRangeTupleCheckerChip<2>>().next().unwrap().clone();
        let tables = Tables {
            range_bits: ranges.range_max_bits() as u32,
            timestamp_bits: chips.timestamp_max_bits() as u32,
            pointer_bits: chips.airs().pointer_max_bits() as u32,
            tuple_sizes: *tuples.sizes(),
        };
        Self { chips, ranges, bitwise, tuples, tables }
    }

    /// Upstream's trace of these records.
    fn trace(&self, kernel: &TraceKernel, adapter_columns: usize, records: &[Vec<u32>]) -> Vec<F> {
        let rows = |record: &Vec<u32>| match kernel.layout {
            Layout::Row { .. } => 1,
            Layout::Rows { .. } => record[0] as usize,
        };
        let mut arena = MatrixRecordArena::<F>::with_capacity(records.iter().map(rows).sum(), kernel.columns);
        for record in records {
            let bytes: &[u8] = bytemuck::cast_slice(record);
            let target = arena.alloc_buffer(rows(record));
            match kernel.layout {
                Layout::Row { core, .. } => {
                    target[..core].copy_from_slice(&bytes[..core]);
                    target[4 * adapter_columns..][..bytes.len() - core].copy_from_slice(&bytes[core..]);
                }
                Layout::Rows { .. } => target[..bytes.len()].copy_from_slice(bytes),
            }
        }
        let chip = self.chips.chips().iter().find(|chip| (kernel.is)(chip.as_any())).expect("the machine has the chip");
        let context = chip.generate_proving_ctx(arena);
        assert!(context.public_values.is_empty() && context.cached_mains.is_empty());
        ColMajorMatrix::from_row_major(&context.common_main).values
    }

    /// All counts in the order of the device; none are left.
    fn counts(&self) -> Vec<u32> {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        let lists = [&self.ranges.count, &self.bitwise.count_range, &self.bitwise.count_xor];
        let counts = lists.into_iter().flatten().map(take);
        counts.chain(self.tuples.count.iter().map(|count| take(count))).collect()
    }
}

/// Compares traces and counts for random records, which `record` makes.
pub(super) fn assert_equals_upstream(
    kernel: &'static TraceKernel,
    adapter_columns: usize,
    record: impl Fn(&mut Random) -> Vec<u32>,
) {
    let (gpu, host) = (testing::gpu(), Host::new());
    let mut random = Random(StdRng::seed_from_u64(15));
    for count in [1, 2, 3, 255, 700] {
        let records: Vec<Vec<u32>> = (0..count).map(|_| record(&mut random)).collect();
        let expected = host.trace(kernel, adapter_columns, &records);
        let expected_counts = host.counts();
        // the device gets them in two parts
        let halves = records.split_at(count / 3);
        let parts = [halves.0.concat(), halves.1.concat()];
        let counts = Counts::new(&gpu, host.tables).unwrap();
        let trace = fill_trace(&gpu, kernel, &parts.each_ref().map(Vec::as_slice), &counts);
        let found = trace.download(&gpu).unwrap();
        assert_columns(kernel, trace.height(), &found, &expected);
        assert_counts(&gpu, &counts, &expected_counts);
    }
}

fn assert_columns(kernel: &TraceKernel, height: usize, found: &[F], expected: &[F]) {
    assert_eq!(found.len(), expected.len(), "cells of {}", kernel.decl.path);
    let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
    if let Some(at) = different {
        panic!(
            "{}: row {} of {height}, column {}: {} instead of {}",
            kernel.decl.path,
            at % height,
            at / height,
            found[at],
            expected[at]
        );
    }
}

fn assert_counts(gpu: &Gpu, counts: &Counts, expected: &[u32]) {
    let found = gpu.download(counts.buffer()).unwrap();
    assert_eq!(found.len(), expected.len());
    let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
    if let Some(at) = different {
        panic!("count {at} of {:?}: {} instead of {}", counts.tables(), found[at], expected[at]);
    }
}
