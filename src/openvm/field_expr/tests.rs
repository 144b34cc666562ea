//! Traces against upstream's: cells, and what lookups are counted.

use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    sync::atomic::{AtomicU32, Ordering},
};

use num_bigint::BigUint;
use openvm_algebra_circuit::modular_chip::ModularIsEqualRecord;
use openvm_circuit::{
    arch::{AdapterCoreLayout, Arena, EmptyAdapterCoreLayout, RecordArena, VmBuilder, VmCircuitConfig},
    primitives::Chip,
};
use openvm_mod_circuit_builder::{FieldExpr, FieldExpressionCoreRecordMut, FieldExpressionMetadata};
use openvm_rv32_adapters::{
    Rv32IsEqualModAdapterExecutor, Rv32IsEqualModAdapterRecord, Rv32VecHeapAdapterExecutor, Rv32VecHeapAdapterRecord,
};
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::p3_matrix::dense::RowMajorMatrix;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{is_equal::IsEqualChip, *};
use crate::openvm::HostEngine;

type Executor<const READS: usize, const BLOCKS: usize> =
    Rv32VecHeapAdapterExecutor<READS, BLOCKS, BLOCKS, DEFAULT_BLOCK_SIZE, DEFAULT_BLOCK_SIZE>;
type Record<const READS: usize, const BLOCKS: usize> =
    Rv32VecHeapAdapterRecord<READS, BLOCKS, BLOCKS, DEFAULT_BLOCK_SIZE, DEFAULT_BLOCK_SIZE>;

type IsEqualExecutor<const BLOCKS: usize, const LIMBS: usize> =
    Rv32IsEqualModAdapterExecutor<2, BLOCKS, DEFAULT_BLOCK_SIZE, LIMBS>;
type IsEqualRecord<const BLOCKS: usize, const LIMBS: usize> =
    Rv32IsEqualModAdapterRecord<2, BLOCKS, DEFAULT_BLOCK_SIZE, LIMBS>;

fn machine(config: &SdkVmConfig) -> Inventory {
    let airs = config.create_airs().unwrap();
    VmBuilder::<HostEngine>::create_chip_complex(&SdkVmCpuBuilder, config, airs, &()).unwrap().inventory
}

/// An opcode and operands.
type Row = (usize, Vec<BigUint>);

struct Rows<'a> {
    expr: &'a FieldExpr,
    opcodes: &'a [usize],
    flags: &'a [usize],
    random: StdRng,
}

impl Rows<'_> {
    /// Numbers at which something changes, and others.
    fn operand(&mut self) -> BigUint {
        let p = &self.expr.builder.prime;
        let bytes = self.expr.builder.num_limbs;
        let all = (BigUint::from(1u8) << (8 * bytes)) - 1u8;
        match self.random.random_range(0..12) {
            0 => BigUint::ZERO,
            1 => BigUint::from(1u8),
            2 => p - 1u8,
            3 => p.clone(),
            4 => (p + 1u8).min(all),
            5 => all,
            6 => BigUint::from(self.random.random::<u32>()),
            7 => BigUint::from_bytes_le(&(0..bytes).map(|_| self.random.random()).collect::<Vec<u8>>()),
            _ => BigUint::from_bytes_le(&(0..bytes + 8).map(|_| self.random.random()).collect::<Vec<u8>>()) % p,
        }
    }

    /// What upstream can compute: it panics where it divides by 0.
    fn row(&mut self) -> Row {
        loop {
            let place = self.random.random_range(0..self.opcodes.len());
            let mut inputs: Vec<BigUint> = (0..self.expr.builder.num_input).map(|_| self.operand()).collect();
            let mut flags = vec![false; self.expr.builder.num_flags];
            let is_setup = place == self.flags.len();
            if !is_setup {
                flags[self.flags[place]] = true;
            }
            match self.random.random_range(0..8) {
                // points that are equal in one coordinate or both
                0 => inputs[self.expr.builder.num_input / 2] = inputs[0].clone(),
                // else the modulus is not the chip's, and the trace cannot be proved
                1..8 if is_setup => {
                    let values = [&self.expr.builder.prime].into_iter().chain(&self.expr.setup_values);
                    inputs.iter_mut().zip(values).for_each(|(input, value)| *input = value.clone());
                }
                _ => {}
            }
            if catch_unwind(AssertUnwindSafe(|| self.expr.execute(&inputs, &flags))).is_ok() {
                return (self.opcodes[place], inputs);
            }
        }
    }
}

/// Records of these rows.
fn records<const READS: usize, const BLOCKS: usize>(
    expr: &FieldExpr,
    rows: &[Row],
    width: usize,
) -> MatrixRecordArena<F> {
    let mut random = StdRng::seed_from_u64(7);
    let mut arena = MatrixRecordArena::with_capacity(rows.len(), width);
    let bytes = expr.builder.num_limbs;
    for (opcode, inputs) in rows {
        let metadata = FieldExpressionMetadata::<F, Executor<READS, BLOCKS>>::new(bytes * inputs.len());
        let (adapter, mut core): (&mut Record<READS, BLOCKS>, FieldExpressionCoreRecordMut<'_>) =
            arena.alloc(AdapterCoreLayout { metadata });
        let now = random.random_range(1..1 << 28);
        let mut before = || random.random_range(0..now);
        adapter.rs_read_aux.iter_mut().for_each(|aux| aux.prev_timestamp = before());
        adapter.rd_read_aux.prev_timestamp = before();
        adapter.reads_aux.as_flattened_mut().iter_mut().for_each(|aux| aux.prev_timestamp = before());
        adapter.writes_aux.iter_mut().for_each(|aux| aux.prev_timestamp = before());
        adapter.writes_aux.iter_mut().for_each(|aux| aux.prev_data = random.random());
        adapter.from_timestamp = now;
        adapter.from_pc = random.random::<u32>() >> 4;
        adapter.rs_ptrs = [(); READS].map(|()| 4 * random.random_range(0..32));
        adapter.rd_ptr = 4 * random.random_range(0..32);
        adapter.rs_vals = [(); READS].map(|()| random.random::<u32>() >> 3);
        adapter.rd_val = random.random::<u32>() >> 3;
        let limbs = inputs.iter().flat_map(|input| {
            let mut limbs = input.to_bytes_le();
            limbs.resize(bytes, 0);
            limbs
        });
        core.fill_from_execution_data(*opcode as u8, &limbs.collect::<Vec<u8>>());
    }
    arena
}

/// What was counted, of which nothing is left.
fn counted(lookups: &Lookups) -> Vec<(usize, u32)> {
    let counts = lookups.ranges.count.iter().chain(&lookups.bitwise.count_range).chain(&lookups.bitwise.count_xor);
    let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
    counts.map(take).enumerate().filter(|(_, count)| *count > 0).collect()
}

/// Compares all traces of a chip, if it is of this kind.
fn check<const L: usize, const READS: usize, const BLOCKS: usize>(chips: &Inventory, index: usize) -> Option<bool> {
    let any = chips.chips()[index].as_any();
    let chip: &FieldChip<READS, BLOCKS> = any.downcast_ref()?;
    let air = &chips.airs().ext_airs()[index];
    let (filler, width) = (&chip.inner, openvm_stark_backend::p3_air::BaseAir::<F>::width(air.as_ref()));
    let Some(traces) = field_traces(chips, index) else { return Some(false) };
    let (opcodes, flags) = (&filler.local_opcode_idx, &filler.opcode_flag_idx);
    let random = StdRng::seed_from_u64(index as u64);
    let mut rows = Rows { expr: &filler.expr, opcodes, flags, random };
    let bitwise =
        chips.chips().iter().find_map(|chip| chip.as_any().downcast_ref::<SharedBitwiseOperationLookupChip<8>>());
    let lookups =
        Lookups { ranges: filler.range_checker.clone(), bitwise: bitwise.unwrap().clone(), timestamp_bits: 29 };
    for count in [0, 1, 33, 301] {
        let rows: Vec<Row> = (0..count).map(|_| rows.row()).collect();
        let records = || records::<READS, BLOCKS>(&filler.expr, &rows, width);
        let expected: AirProvingContext<HostBackend> = chip.generate_proving_ctx(records());
        let expected_counts = counted(&lookups);
        let found = traces.context(any, records());
        assert_eq!(counted(&lookups), expected_counts, "{} with {count} rows", air.name());
        let [expected, found]: [&RowMajorMatrix<F>; 2] = [&expected.common_main, &found.common_main];
        assert_eq!((expected.width, expected.values.len()), (found.width, found.values.len()));
        let differs = (0..found.values.len()).find(|cell| found.values[*cell] != expected.values[*cell]);
        let place = differs.map(|cell| (cell / width, cell % width, rows.get(cell / width)));
        assert!(place.is_none(), "{} of {count} rows, at row, column: {place:?}", air.name());
    }
    Some(true)
}

/// Records of comparisons: of random numbers that are less than the modulus, of equal ones, and with the modulus itself at first.
fn comparisons<const BLOCKS: usize, const LIMBS: usize>(
    modulus: &[u8; LIMBS],
    count: usize,
    width: usize,
) -> MatrixRecordArena<F> {
    let mut random = StdRng::seed_from_u64(count as u64);
    let modulus = BigUint::from_bytes_le(modulus);
    let limbs = |number: BigUint| -> [u8; LIMBS] {
        let mut bytes = number.to_bytes_le();
        bytes.resize(LIMBS, 0);
        bytes.try_into().unwrap()
    };
    let mut arena = MatrixRecordArena::with_capacity(count, width);
    for i in 0..count {
        let layout = EmptyAdapterCoreLayout::<F, IsEqualExecutor<BLOCKS, LIMBS>>::new();
        let (adapter, core): (&mut IsEqualRecord<BLOCKS, LIMBS>, &mut ModularIsEqualRecord<LIMBS>) =
            arena.alloc(layout);
        let now = random.random_range(1..1 << 28);
        let mut before = || random.random_range(0..now);
        adapter.rs_read_aux.iter_mut().for_each(|aux| aux.prev_timestamp = before());
        adapter.heap_read_aux.as_flattened_mut().iter_mut().for_each(|aux| aux.prev_timestamp = before());
        adapter.writes_aux.prev_timestamp = before();
        adapter.writes_aux.prev_data = random.random();
        (adapter.timestamp, adapter.from_pc) = (now, random.random::<u32>() >> 4);
        adapter.rs_ptr = [(); 2].map(|()| 4 * random.random_range(0..32));
        adapter.rs_val = [(); 2].map(|()| random.random::<u32>() >> 3);
        adapter.rd_ptr = 4 * random.random_range(1..32);
        let mut number = || BigUint::from_bytes_le(&[(); LIMBS].map(|()| random.random())) % &modulus;
        (core.b, core.c) = (limbs(number()), limbs(number()));
        match i % 4 {
            0 => core.b = core.c,
            1 => (core.b, core.c) = (limbs(&modulus - 1u8), limbs(BigUint::ZERO)),
            _ => {}
        }
        core.is_setup = i == 0;
        if core.is_setup {
            core.b = limbs(modulus.clone());
        }
    }
    arena
}

fn check_is_equal<const BLOCKS: usize, const LIMBS: usize>(chips: &Inventory, index: usize) -> Option<bool> {
    let any = chips.chips()[index].as_any();
    let chip: &IsEqualChip<BLOCKS, LIMBS> = any.downcast_ref()?;
    let traces = field_traces(chips, index).expect("all comparisons");
    let width = openvm_stark_backend::p3_air::BaseAir::<F>::width(chips.airs().ext_airs()[index].as_ref());
    let (ranges, bitwise) = (chips.range_checker().unwrap().clone(), chip.inner.bitwise_lookup_chip.clone());
    let lookups = Lookups { ranges, bitwise, timestamp_bits: 29 };
    for count in [0, 1, 301] {
        let records = || comparisons::<BLOCKS, LIMBS>(&chip.inner.modulus_limbs, count, width);
        let expected: AirProvingContext<HostBackend> = chip.generate_proving_ctx(records());
        let expected_counts = counted(&lookups);
        let found = traces.context(any, records());
        assert_eq!(counted(&lookups), expected_counts);
        assert!(found.common_main.values == expected.common_main.values, "{count} rows");
    }
    Some(true)
}

/// How many chips of field expressions have traces made here, and how many have not.
fn check_all(config: &SdkVmConfig) -> (usize, usize) {
    let chips = machine(config);
    let mut found = (0, 0);
    for index in 0..chips.chips().len() {
        let kinds = [
            check::<4, 2, 8>,
            check::<6, 2, 12>,
            check::<4, 2, 16>,
            check::<6, 2, 24>,
            check::<4, 1, 16>,
            check::<6, 1, 24>,
            check_is_equal::<8, 32>,
            check_is_equal::<12, 48>,
        ];
        match kinds.iter().find_map(|check| check(&chips, index)) {
            Some(true) => found.0 += 1,
            Some(false) => found.1 += 1,
            None => assert!(field_traces(&chips, index).is_none()),
        }
    }
    found
}

#[test]
fn traces_of_known_fields_and_curves_are_upstreams() {
    assert_eq!(check_all(&SdkVmConfig::standard()), (36, 0));
}

#[test]
fn traces_of_other_moduli_are_upstreams() {
    // 79 bits, a composite, and 2^384 - 317
    let config = |moduli: &[&str]| {
        let moduli: Vec<String> = moduli.iter().map(|modulus| format!("\"{modulus}\"")).collect();
        let text = format!(
            "[app_vm_config.rv32i]\n[app_vm_config.io]\n[app_vm_config.modular]\nsupported_moduli = [{}]",
            moduli.join(",")
        );
        SdkVmConfig::from_toml(&text).unwrap()
    };
    let large = (BigUint::from(1u8) << 384u32) - 317u32;
    let moduli = [
        "357686312646216567629137",
        "1000000000000000000000000000000000000000000000000000000000000000001",
        &large.to_string(),
    ];
    assert_eq!(check_all(&config(&moduli)), (9, 0));
    // such numbers have no form of Montgomery's
    assert_eq!(check_all(&config(&["340282366920938463463374607431768211456"])), (1, 2));
}
