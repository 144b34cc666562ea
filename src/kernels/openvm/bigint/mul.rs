//! Products of 256-bit integers (`wgsl/openvm/bigint/mul.wgsl`).

use openvm_bigint_circuit::Rv32Multiplication256Chip;
use openvm_rv32im_circuit::MultiplicationCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{Adapter, COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = MultiplicationCoreRecord<LIMBS, 8>;

trace_kernel! {
    /// Products of 256-bit integers.
    MUL = Mul("openvm/bigint/mul.wgsl") {
        chip: Rv32Multiplication256Chip<F>,
        columns: COLUMNS + 97,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: COLUMNS,
        tuples: wide_tuples,
        record: |random| random.wide_operation(),
    }
}
