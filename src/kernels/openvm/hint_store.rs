//! Hint stores (`wgsl/openvm/hint_store.wgsl`).

use openvm_rv32im_circuit::{Rv32HintStoreChip, Rv32HintStoreRecordHeader, Rv32HintStoreVar};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{trace_kernel, Layout};

trace_kernel! {
    /// Hint stores.
    HINT_STORE = HintStore("openvm/hint_store.wgsl") {
        chip: Rv32HintStoreChip<F>,
        columns: 32,
        layout: Layout::Rows { head: size_of::<Rv32HintStoreRecordHeader>(), row: size_of::<Rv32HintStoreVar>() },
        adapter_columns: 32,
        record: |random| {
            let words = random.one_of(&[1, 1, 1, 2, 5, 300, 1023]);
            let timestamp = random.timestamp();
            let (pointer, words_before) = (random.before(timestamp), random.before(timestamp + 1));
            let register = if words == 1 { random.register_or_none() } else { random.register() };
            let address = random.word() & 0x1fff_fffc;
            let mut record =
                vec![words, random.pc(), timestamp, random.register(), address, pointer, register, words_before];
            for index in 0..words {
                record.extend([random.before(timestamp + 3 * index + 2), random.word(), random.word()]);
            }
            record
        },
    }
}
