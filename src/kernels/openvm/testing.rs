//! Chips against upstream's on the same records.

use std::sync::atomic::{AtomicU32, Ordering};

use openvm_bigint_circuit::{Int256Rv32Config, Int256Rv32CpuBuilder};
use openvm_circuit::{
    arch::{Arena, ChipInventory, MatrixRecordArena, VmBuilder, VmCircuitConfig},
    primitives::{
        bitwise_op_lookup::SharedBitwiseOperationLookupChip, range_tuple::SharedRangeTupleCheckerChip,
        var_range::SharedVariableRangeCheckerChip,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_sha2_circuit::Sha2Config;
use openvm_stark_backend::prover::ColMajorMatrix;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, BabyBearPoseidon2CpuEngine, F};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{fill_traces, Counts, Layout, Tables, TraceKernel};
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

    /// Registers with pointers, and then the times of accesses.
    fn pointers(&mut self, registers: usize, accesses: u32) -> Vec<u32> {
        let timestamp = self.timestamp();
        let mut record = vec![self.pc(), timestamp];
        record.extend((0..registers).map(|_| self.register()));
        record.extend((0..registers).map(|_| self.word() & 0x1fff_ffff));
        record.extend((0..accesses).map(|access| self.before(timestamp + access)));
        record
    }

    fn heap_adapter(&mut self) -> Vec<u32> {
        let mut record = self.pointers(3, 3 + 16);
        let timestamp = record[1];
        for access in 19..19 + 8 {
            record.extend([self.before(timestamp + access), self.word()]);
        }
        record
    }

    fn heap_branch_adapter(&mut self) -> Vec<u32> {
        self.pointers(2, 2 + 16)
    }

    /// An operation on two integers of 256 bits, up to what its core has behind them.
    pub(super) fn wide_operation(&mut self) -> Vec<u32> {
        let adapter = self.heap_adapter();
        [adapter, self.wide_operands().concat()].concat()
    }

    /// A branch on them.
    pub(super) fn wide_branch(&mut self) -> Vec<u32> {
        let adapter = self.heap_branch_adapter();
        [adapter, self.wide_operands().concat()].concat()
    }

    /// Two integers of 256 bits, often such that differ by little, and small ones.
    fn wide_operands(&mut self) -> [[u32; 8]; 2] {
        let b = match self.0.random_range(0..4) {
            0 => [self.one_of(&[0, u32::MAX]); 8],
            1 => [self.word(), 0, 0, 0, 0, 0, 0, 0],
            _ => [0; 8].map(|_| self.word()),
        };
        let mut c = match self.0.random_range(0..4) {
            0 => b,
            1 => [self.word(), 0, 0, 0, 0, 0, 0, 0],
            _ => [0; 8].map(|_| self.word()),
        };
        if self.0.random_bool(0.5) {
            c[self.0.random_range(0..8)] = self.word();
        }
        [b, c]
    }

    pub(super) fn sha2<C: Sha2Config>(&mut self) -> Vec<u32> {
        let (input, state) = (C::BLOCK_BYTES as u32 / 4, C::STATE_BYTES as u32 / 4);
        let timestamp = self.timestamp();
        let mut record = vec![C::VARIANT.into(), self.pc(), timestamp];
        record.extend((0..3).map(|_| self.register()));
        record.extend((0..3).map(|_| self.word() & 0x1fff_ffff));
        record.extend((0..3).map(|access| self.before(timestamp + access)));
        let [message, before] = [input, state].map(|words| Vec::from_iter((0..words).map(|_| self.word())));
        let mut after = before.clone();
        C::compress(bytemuck::cast_slice_mut(&mut after), bytemuck::cast_slice(&message));
        record.extend([message, before, after].concat());
        record.extend((3..3 + input + state).map(|access| self.before(timestamp + access)));
        for access in 3 + input + state..3 + input + 2 * state {
            record.extend([self.before(timestamp + access), self.word()]);
        }
        record
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
    /// RV32M's, and that of products of 256 bits if it is another one.
    tuples: Vec<SharedRangeTupleCheckerChip<2>>,
    tables: Tables,
}

impl Host {
    /// A machine with all chips that have kernels, and one table of tuples.
    fn of_all() -> Self {
        let config = SdkVmConfig {
            keccak: Some(Default::default()),
            sha2: Some(Default::default()),
            bigint: Some(Default::default()),
            ..SdkVmConfig::riscv32()
        };
        Self::new(&SdkVmCpuBuilder, &config)
    }

    /// A machine with a table of tuples for products of 256 bits that is not RV32M's.
    fn of_bigint() -> Self {
        Self::new(&Int256Rv32CpuBuilder, &Int256Rv32Config::default())
    }

    fn new<B>(builder: &B, config: &B::VmConfig) -> Self
    where
        B: VmBuilder<BabyBearPoseidon2CpuEngine, RecordArena = MatrixRecordArena<F>>,
    {
        let airs = config.create_airs().unwrap();
        let chips = builder.create_chip_complex(config, airs, &()).unwrap().inventory;
        let ranges = chips.range_checker().unwrap().clone();
        let bitwise = chips.find_chip::<SharedBitwiseOperationLookupChip<8>>().next().unwrap().clone();
        let tuples = Vec::from_iter(chips.find_chip::<SharedRangeTupleCheckerChip<2>>().cloned());
        let tables = Tables {
            range_bits: ranges.range_max_bits() as u32,
            timestamp_bits: chips.timestamp_max_bits() as u32,
            pointer_bits: chips.airs().pointer_max_bits() as u32,
            tuple_sizes: [*tuples[0].sizes(), tuples.get(1).map_or([0; 2], |own| *own.sizes())],
        };
        Self { chips, ranges, bitwise, tuples, tables }
    }

    /// Upstream's traces of these records: the chip's own, then that of its periphery.
    fn traces(&self, kernel: &TraceKernel, adapter_columns: usize, records: &[Vec<u32>]) -> Vec<Vec<F>> {
        let at = self.chips.chips().iter().position(|chip| (kernel.is)(chip.as_any()));
        let at = at.expect("the machine has the chip");
        let own = self.trace(at, arena(kernel, adapter_columns, records));
        let others = kernel.periphery.map(|periphery| {
            assert_eq!(self.chips.airs().ext_airs()[at - 1].name(), periphery.air);
            self.trace(at - 1, MatrixRecordArena::with_capacity(0, periphery.kernel.columns))
        });
        [Some(own), others].into_iter().flatten().collect()
    }

    fn trace(&self, chip: usize, arena: MatrixRecordArena<F>) -> Vec<F> {
        let context = self.chips.chips()[chip].generate_proving_ctx(arena);
        assert!(context.public_values.is_empty() && context.cached_mains.is_empty());
        ColMajorMatrix::from_row_major(&context.common_main).values
    }

    /// All counts in the order of the device; none are left.
    fn counts(&self) -> Vec<u32> {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        let lists = [&self.ranges.count, &self.bitwise.count_range, &self.bitwise.count_xor];
        let counts = lists.into_iter().flatten().map(take);
        counts.chain(self.tuples.iter().flat_map(|tuples| tuples.count.iter().map(|count| take(count)))).collect()
    }
}

/// Records where upstream's executor writes them.
fn arena(kernel: &TraceKernel, adapter_columns: usize, records: &[Vec<u32>]) -> MatrixRecordArena<F> {
    let rows = |record: &Vec<u32>| match kernel.layout {
        Layout::Row { .. } | Layout::Ring { .. } => 1,
        Layout::Rows { .. } => record[0] as usize,
        Layout::Shared { .. } => unreachable!("records of another chip"),
    };
    let mut arena = MatrixRecordArena::<F>::with_capacity(records.iter().map(rows).sum(), kernel.columns);
    for record in records {
        let bytes: &[u8] = bytemuck::cast_slice(record);
        let target = arena.alloc_buffer(rows(record));
        let core = match kernel.layout {
            Layout::Row { core, .. } => core,
            _ => bytes.len(),
        };
        target[..core].copy_from_slice(&bytes[..core]);
        target[4 * adapter_columns..][..bytes.len() - core].copy_from_slice(&bytes[core..]);
    }
    arena
}

/// Compares traces and counts for random records, which `record` makes.
pub(super) fn assert_equals_upstream(
    kernel: &'static TraceKernel,
    adapter_columns: usize,
    record: impl Fn(&mut Random) -> Vec<u32>,
) {
    let (gpu, mut hosts) = (testing::gpu(), vec![Host::of_all()]);
    if kernel.decl.path.starts_with("openvm/bigint/") {
        hosts.push(Host::of_bigint());
        assert_eq!(hosts[1].tuples.len(), 2);
    }
    let mut random = Random(StdRng::seed_from_u64(15));
    // what makes many rows of a record makes few records do
    let most = if kernel.periphery.is_some() { 30 } else { 700 };
    for (count, host) in [1, 2, 3, 255.min(most / 2), most].into_iter().zip(hosts.iter().cycle()) {
        let records: Vec<Vec<u32>> = (0..count).map(|_| record(&mut random)).collect();
        let expected = host.traces(kernel, adapter_columns, &records);
        let expected_counts = host.counts();
        // the device gets them in two parts
        let halves = records.split_at(count / 3);
        let parts = [halves.0.concat(), halves.1.concat()];
        let counts = Counts::new(&gpu, host.tables).unwrap();
        let traces = fill_traces(&gpu, kernel, &parts.each_ref().map(Vec::as_slice), &counts);
        assert_eq!(traces.len(), expected.len());
        for ((kernel, trace), expected) in kernel.with_periphery().zip(traces).zip(expected) {
            trace.check().unwrap();
            assert_columns(kernel, trace.height(), &trace.download(&gpu).unwrap(), &expected);
        }
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
