//! Shifts of 256-bit integers (`wgsl/openvm/bigint/shift.wgsl`).

use openvm_bigint_circuit::Rv32Shift256Chip;
use openvm_rv32im_circuit::ShiftCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{Adapter, COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = ShiftCoreRecord<LIMBS, 8>;

trace_kernel! {
    /// Shifts of 256-bit integers.
    SHIFT = Shift("openvm/bigint/shift.wgsl") {
        chip: Rv32Shift256Chip<F>,
        columns: COLUMNS + 174,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: COLUMNS,
        record: |random| {
            let mut record = random.wide_operation();
            record.push(random.packed(3));
            record
        },
    }
}
