//! XORs onto memory (`wgsl/openvm/keccak/xorin.wgsl`).

use openvm_keccak256_circuit::xorin::{columns::NUM_XORIN_VM_COLS, trace::XorinVmRecordHeader, XorinVmChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::kernels::openvm::{trace_kernel, Layout};

const RECORD: usize = size_of::<XorinVmRecordHeader>();

trace_kernel! {
    /// XORs onto memory.
    XORIN = Xorin("openvm/keccak/xorin.wgsl") {
        chip: XorinVmChip<F>,
        columns: NUM_XORIN_VM_COLS,
        layout: Layout::Row { bytes: RECORD, core: RECORD },
        adapter_columns: 0,
        record: |random| {
            let timestamp = random.timestamp();
            let registers = [random.register(), random.register(), random.register()];
            let pointers = [random.word() & 0x1fff_ffff, random.word() & 0x1fff_ffff];
            // guests ask for whole words
            let len = random.one_of(&[0, 4, 68, 132, 135, 136, 136]);
            let mut record = [&[random.pc(), timestamp][..], &registers, &pointers, &[len]].concat();
            // with what is behind the bytes and accesses of so many
            record.extend((0..68).map(|_| random.word()));
            let words = u32::div_ceil(len, 4);
            record.extend((0..3).map(|register| random.before(timestamp + register)));
            record.extend((0..34).map(|word| random.before(timestamp + 3 + words + word)));
            record.extend((0..34).map(|word| random.before(timestamp + 3 + word)));
            for word in 0..34 {
                record.extend([random.before(timestamp + 3 + 2 * words + word), random.word()]);
            }
            record
        },
    }
}
