//! Keccak-f's instruction (`wgsl/openvm/keccak/keccakf_op.wgsl`).

use openvm_keccak256_circuit::keccakf_op::{columns::NUM_KECCAKF_OP_COLS, KeccakfOpChip, KeccakfRecord};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::keccakf_perm::KECCAKF_PERM;
use crate::kernels::openvm::{trace_kernel, Layout, Periphery};

const RECORD: usize = size_of::<KeccakfRecord>();

trace_kernel! {
    /// Keccak-f's instruction.
    KECCAKF_OP = KeccakfOp("openvm/keccak/keccakf_op.wgsl") {
        chip: KeccakfOpChip<F>,
        columns: NUM_KECCAKF_OP_COLS,
        layout: Layout::Row { bytes: RECORD, core: RECORD },
        periphery: Periphery { air: "KeccakfPermAir", kernel: &KECCAKF_PERM },
        adapter_columns: 0,
        record: |random| {
            let timestamp = random.timestamp();
            let mut record = vec![random.pc(), timestamp, random.register(), random.word() & 0x1fff_ffff];
            record.extend((0..51).map(|access| random.before(timestamp + access)));
            record.extend((0..50).map(|_| random.word()));
            record
        },
    }
}
