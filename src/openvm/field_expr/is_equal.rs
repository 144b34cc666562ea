//! Comparisons of numbers modulo a prime: upstream's rows, with lookups counted by each thread for itself.

use std::any::Any;

use openvm_algebra_circuit::modular_chip::{ModularIsEqualChip, ModularIsEqualFiller};
use openvm_circuit::arch::{MatrixRecordArena, TraceFiller, DEFAULT_BLOCK_SIZE};
use openvm_rv32_adapters::Rv32IsEqualModAdapterFiller;
use openvm_stark_backend::prover::AirProvingContext;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{counts::Lookups, rows::fill_in_parts, FieldTraces, HostBackend, Inventory};

/// Compares numbers of so many limbs in so many blocks.
pub(super) type IsEqualChip<const BLOCKS: usize, const LIMBS: usize> =
    ModularIsEqualChip<F, BLOCKS, DEFAULT_BLOCK_SIZE, LIMBS>;

struct IsEqualTraces<const BLOCKS: usize, const LIMBS: usize> {
    lookups: Lookups,
    pointer_bits: usize,
}

pub(super) fn is_equal_traces<const BLOCKS: usize, const LIMBS: usize>(
    chips: &Inventory,
    index: usize,
) -> Option<Box<dyn FieldTraces>> {
    let chip: &IsEqualChip<BLOCKS, LIMBS> = chips.chips()[index].as_any().downcast_ref()?;
    // as upstream's extension, which has no others
    let ranges = chips.range_checker().ok()?.clone();
    let bitwise = chip.inner.bitwise_lookup_chip.clone();
    let lookups = Lookups { ranges, bitwise, timestamp_bits: chips.timestamp_max_bits() };
    Some(Box::new(IsEqualTraces::<BLOCKS, LIMBS> { lookups, pointer_bits: chips.airs().pointer_max_bits() }))
}

impl<const BLOCKS: usize, const LIMBS: usize> FieldTraces for IsEqualTraces<BLOCKS, LIMBS> {
    fn context(&self, chip: &dyn Any, records: MatrixRecordArena<F>) -> AirProvingContext<HostBackend> {
        let chip: &IsEqualChip<BLOCKS, LIMBS> = chip.downcast_ref().expect("the chip that this was made for");
        let (offset, modulus) = (chip.inner.offset, chip.inner.modulus_limbs);
        let trace = fill_in_parts(records, &self.lookups, |rows, width, counts| {
            let adapter = Rv32IsEqualModAdapterFiller::<2, BLOCKS, DEFAULT_BLOCK_SIZE, LIMBS>::new(
                self.pointer_bits,
                counts.bitwise.clone(),
            );
            let filler = ModularIsEqualFiller::<_, LIMBS, 4, 8>::new(adapter, offset, modulus, counts.bitwise.clone());
            let memory = counts.memory.as_borrowed();
            rows.chunks_exact_mut(width).for_each(|row| filler.fill_trace_row(&memory, row));
        });
        AirProvingContext::simple(trace, chip.inner.generate_public_values())
    }
}
