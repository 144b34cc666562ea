//! Traces of chips whose rows are expressions of a prime field: modular arithmetic, its quadratic extensions, and curves in short Weierstrass
//! form.
//!
//! They are upstream's, cell by cell. Upstream computes each row out of big numbers on the heap, a limb by a division, twice, and each thread
//! counts lookups at places that all share; a row of a curve takes a tenth of a millisecond. Here expressions are turned into lists of
//! operations when the machine is built, integers have a fixed size, rows share inversions, and threads have counts of their own.
//!
//! Comparisons have upstream's rows and such counts.
//!
//! What reads records (`rows`) knows upstream's layout; what computes (`plan`, `constraint`) knows expressions alone.

mod constraint;
mod counts;
mod is_equal;
mod limbs;
mod modulus;
mod plan;
mod rows;

use std::any::Any;

use openvm_circuit::{
    arch::{ChipInventory, MatrixRecordArena, VmAirWrapper, VmChipWrapper, DEFAULT_BLOCK_SIZE},
    primitives::bitwise_op_lookup::SharedBitwiseOperationLookupChip,
};
use openvm_cpu_backend::CpuBackend;
use openvm_mod_circuit_builder::{FieldExpressionCoreAir, FieldExpressionFiller};
use openvm_rv32_adapters::{Rv32VecHeapAdapterAir, Rv32VecHeapAdapterFiller};
use openvm_stark_backend::prover::AirProvingContext;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};

use self::{counts::Lookups, is_equal::is_equal_traces, plan::Plan};

type HostBackend = CpuBackend<BabyBearPoseidon2Config>;
type Inventory = ChipInventory<BabyBearPoseidon2Config, MatrixRecordArena<F>, HostBackend>;

/// Operands and results in memory: `READS` of the former, of `BLOCKS` blocks each.
type Adapter<const READS: usize, const BLOCKS: usize> =
    Rv32VecHeapAdapterFiller<READS, BLOCKS, BLOCKS, DEFAULT_BLOCK_SIZE, DEFAULT_BLOCK_SIZE>;
type AdapterAir<const READS: usize, const BLOCKS: usize> =
    Rv32VecHeapAdapterAir<READS, BLOCKS, BLOCKS, DEFAULT_BLOCK_SIZE, DEFAULT_BLOCK_SIZE>;
type FieldChip<const READS: usize, const BLOCKS: usize> =
    VmChipWrapper<F, FieldExpressionFiller<Adapter<READS, BLOCKS>>>;
type FieldAir<const READS: usize, const BLOCKS: usize> =
    VmAirWrapper<AdapterAir<READS, BLOCKS>, FieldExpressionCoreAir>;

/// Makes the traces of one chip.
pub(super) trait FieldTraces {
    /// The context that `chip`, for which this was made, would make of its records.
    fn context(&self, chip: &dyn Any, records: MatrixRecordArena<F>) -> AirProvingContext<HostBackend>;
}

/// A chip whose numbers have 64 `L` bits.
struct Traces<const L: usize, const READS: usize, const BLOCKS: usize> {
    plan: Plan<L>,
    lookups: Lookups,
    pointer_bits: usize,
}

/// What makes the traces of a machine's chip in upstream's place, if it is one of these.
pub(super) fn field_traces(chips: &Inventory, chip: usize) -> Option<Box<dyn FieldTraces>> {
    let field_chips = [
        traces::<4, 2, 8>,  // a number of 32 bytes
        traces::<6, 2, 12>, // and of 48
        traces::<4, 2, 16>, // two numbers: an element of an extension, a point
        traces::<6, 2, 24>,
        traces::<4, 1, 16>, // one point
        traces::<6, 1, 24>,
        is_equal_traces::<8, 32>,
        is_equal_traces::<12, 48>,
    ];
    field_chips.iter().find_map(|traces| traces(chips, chip))
}

fn traces<const L: usize, const READS: usize, const BLOCKS: usize>(
    chips: &Inventory,
    index: usize,
) -> Option<Box<dyn FieldTraces>> {
    let chip: &FieldChip<READS, BLOCKS> = chips.chips()[index].as_any().downcast_ref()?;
    let air: &FieldAir<READS, BLOCKS> = chips.airs().ext_airs()[index].as_any().downcast_ref()?;
    // as upstream's extensions, which take the first that there is
    let bitwise = chips.chips().iter().find_map(|chip| {
        let bitwise: &SharedBitwiseOperationLookupChip<8> = chip.as_any().downcast_ref()?;
        (bitwise.bus() == air.adapter.bus).then(|| bitwise.clone())
    })?;
    let filler = &chip.inner;
    let plan = Plan::<L>::new(&filler.expr, &filler.local_opcode_idx, &filler.opcode_flag_idx)?;
    let ranges = filler.range_checker.clone();
    let lookups = Lookups { ranges, bitwise, timestamp_bits: chips.timestamp_max_bits() };
    Some(Box::new(Traces::<L, READS, BLOCKS> { plan, lookups, pointer_bits: chips.airs().pointer_max_bits() }))
}

#[cfg(test)]
mod tests;
