//! Base ALU (`wgsl/openvm/base_alu.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32BaseAluAdapterRecord, BaseAluCoreRecord, Rv32BaseAluChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32BaseAluAdapterRecord;
type Core = BaseAluCoreRecord<4>;

trace_kernel! {
    /// Base ALU.
    BASE_ALU = BaseAlu("openvm/base_alu.wgsl") {
        chip: Rv32BaseAluChip<F>,
        columns: 36,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 19,
        record: |random| {
            let (mut record, [b, c]) = random.alu_adapter();
            record.extend([b, c, random.packed(5)]);
            record
        },
    }
}
