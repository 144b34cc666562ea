//! MUL (`wgsl/openvm/mul.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32MultAdapterRecord, MultiplicationCoreRecord, Rv32MultiplicationChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel, words_of};

type Adapter = Rv32MultAdapterRecord;
type Core = MultiplicationCoreRecord<4, 8>;

trace_kernel! {
    /// MUL.
    MUL = Mul("openvm/mul.wgsl") {
        chip: Rv32MultiplicationChip<F>,
        columns: 31,
        layout: row_of::<Adapter, Core>(),
        words: words_of::<Adapter, Core>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::openvm::testing;

    #[test]
    fn rows_equal_upstreams() {
        testing::assert_equals_upstream(&MUL, 18, |random| {
            let mut record = random.mul_adapter();
            record.extend([random.word(), random.word()]);
            record
        });
    }
}
