//! Quotients and remainders (`wgsl/openvm/div_rem.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32MultAdapterRecord, DivRemCoreRecord, Rv32DivRemChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel, words_of};

type Adapter = Rv32MultAdapterRecord;
type Core = DivRemCoreRecord<4>;

trace_kernel! {
    /// Quotients and remainders.
    DIV_REM = DivRem("openvm/div_rem.wgsl") {
        chip: Rv32DivRemChip<F>,
        columns: 59,
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
        testing::assert_equals_upstream(&DIV_REM, 18, |random| {
            let mut record = random.mul_adapter();
            record.extend([random.word(), random.word(), random.packed(4)]);
            record
        });
    }
}
