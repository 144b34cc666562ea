//! High products (`wgsl/openvm/mulh.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32MultAdapterRecord, MulHCoreRecord, Rv32MulHChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32MultAdapterRecord;
type Core = MulHCoreRecord<4, 8>;

trace_kernel! {
    /// High products.
    MULH = MulH("openvm/mulh.wgsl") {
        chip: Rv32MulHChip<F>,
        columns: 39,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 18,
        record: |random| {
            let mut record = random.mul_adapter();
            record.extend([random.word(), random.word(), random.packed(3)]);
            record
        },
    }
}
