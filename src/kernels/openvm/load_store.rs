//! Loads and stores (`wgsl/openvm/load_store.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32LoadStoreAdapterRecord, LoadStoreCoreRecord, Rv32LoadStoreChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32LoadStoreAdapterRecord;
type Core = LoadStoreCoreRecord<4>;

trace_kernel! {
    /// Loads and stores.
    LOAD_STORE = LoadStore("openvm/load_store.wgsl") {
        chip: Rv32LoadStoreChip<F>,
        columns: 41,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 23,
        record: |random| {
            let cases = [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 2), (3, 0)];
            let cases = cases.into_iter().chain([(4, 0), (4, 2), (5, 0), (5, 1), (5, 2), (5, 3)]);
            let (opcode, shift) = random.one_of(&Vec::from_iter(cases));
            let mut record = random.memory_adapter();
            let read = random.word();
            let before = [0; 4].map(|_| random.word() & 0xff);
            record.extend([opcode | shift << 8 | read << 16, read >> 16 | random.word() << 16]);
            record.extend(before);
            record
        },
    }
}
