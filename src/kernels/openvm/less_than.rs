//! Less-than (`wgsl/openvm/less_than.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32BaseAluAdapterRecord, LessThanCoreRecord, Rv32LessThanChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32BaseAluAdapterRecord;
type Core = LessThanCoreRecord<4, 8>;

trace_kernel! {
    /// Less-than.
    LESS_THAN = LessThan("openvm/less_than.wgsl") {
        chip: Rv32LessThanChip<F>,
        columns: 37,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 19,
        record: |random| {
            let (mut record, [b, c]) = random.alu_adapter();
            record.extend([b, c, random.packed(2)]);
            record
        },
    }
}
