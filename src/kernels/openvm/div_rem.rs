//! Quotients and remainders (`wgsl/openvm/div_rem.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32MultAdapterRecord, DivRemCoreRecord, Rv32DivRemChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32MultAdapterRecord;
type Core = DivRemCoreRecord<4>;

trace_kernel! {
    /// Quotients and remainders.
    DIV_REM = DivRem("openvm/div_rem.wgsl") {
        chip: Rv32DivRemChip<F>,
        columns: 59,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 18,
        record: |random| {
            let mut record = random.mul_adapter();
            record.extend([random.word(), random.word(), random.packed(4)]);
            record
        },
    }
}
