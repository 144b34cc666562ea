//! Loads with a sign (`wgsl/openvm/load_sign_extend.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32LoadStoreAdapterRecord, LoadSignExtendCoreRecord, Rv32LoadSignExtendChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32LoadStoreAdapterRecord;
type Core = LoadSignExtendCoreRecord<4>;

trace_kernel! {
    /// Loads with a sign.
    LOAD_SIGN_EXTEND = LoadSignExtend("openvm/load_sign_extend.wgsl") {
        chip: Rv32LoadSignExtendChip<F>,
        columns: 36,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 23,
        record: |random| {
            let (is_byte, shift) = random.one_of(&[(1, 0), (1, 1), (1, 2), (1, 3), (0, 0), (0, 2)]);
            let mut record = random.memory_adapter();
            let (read, before) = (random.word(), random.word());
            record.extend([is_byte | shift << 8 | read << 16, read >> 16 | before << 16]);
            record.push(before >> 16 | random.word() << 16);
            record
        },
    }
}
