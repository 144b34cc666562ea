//! Shifts (`wgsl/openvm/shift.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32BaseAluAdapterRecord, Rv32ShiftChip, ShiftCoreRecord};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32BaseAluAdapterRecord;
type Core = ShiftCoreRecord<4, 8>;

trace_kernel! {
    /// Shifts.
    SHIFT = Shift("openvm/shift.wgsl") {
        chip: Rv32ShiftChip<F>,
        columns: 53,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 19,
        record: |random| {
            let (mut record, [b, c]) = random.alu_adapter();
            record.extend([b, c, random.packed(3)]);
            record
        },
    }
}
