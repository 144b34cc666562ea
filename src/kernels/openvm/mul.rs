//! MUL (`wgsl/openvm/mul.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32MultAdapterRecord, MultiplicationCoreRecord, Rv32MultiplicationChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32MultAdapterRecord;
type Core = MultiplicationCoreRecord<4, 8>;

trace_kernel! {
    /// MUL.
    MUL = Mul("openvm/mul.wgsl") {
        chip: Rv32MultiplicationChip<F>,
        columns: 31,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 18,
        record: |random| {
            let mut record = random.mul_adapter();
            record.extend([random.word(), random.word()]);
            record
        },
    }
}
