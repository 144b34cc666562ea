//! Hint stores (`wgsl/openvm/hint_store.wgsl`).

use openvm_rv32im_circuit::{Rv32HintStoreChip, Rv32HintStoreRecordHeader, Rv32HintStoreVar};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{trace_kernel, Layout};

/// Words of what an instruction has once, and of each of its rows.
const HEAD: usize = size_of::<Rv32HintStoreRecordHeader>() / 4;
const ROW: usize = size_of::<Rv32HintStoreVar>() / 4;

trace_kernel! {
    /// Hint stores.
    HINT_STORE = HintStore("openvm/hint_store.wgsl") {
        chip: Rv32HintStoreChip<F>,
        columns: 32,
        layout: Layout::Rows { head: 4 * HEAD, row: 4 * ROW },
        words: HEAD + 1 + ROW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::openvm::testing;

    #[test]
    fn rows_equal_upstreams() {
        testing::assert_equals_upstream(&HINT_STORE, 32, |random| {
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
        });
    }
}
