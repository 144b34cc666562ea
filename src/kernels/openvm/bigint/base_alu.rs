//! Sums, differences and bitwise operations of 256-bit integers (`wgsl/openvm/bigint/base_alu.wgsl`).

use openvm_bigint_circuit::Rv32BaseAlu256Chip;
use openvm_rv32im_circuit::BaseAluCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{Adapter, COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = BaseAluCoreRecord<LIMBS>;

trace_kernel! {
    /// Sums, differences and bitwise operations of 256-bit integers.
    BASE_ALU = BaseAlu("openvm/bigint/base_alu.wgsl") {
        chip: Rv32BaseAlu256Chip<F>,
        columns: COLUMNS + 101,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: COLUMNS,
        record: |random| {
            let mut record = random.wide_operation();
            record.push(random.packed(5));
            record
        },
    }
}
