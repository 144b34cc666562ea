//! Comparisons of 256-bit integers (`wgsl/openvm/bigint/less_than.wgsl`).

use openvm_bigint_circuit::Rv32LessThan256Chip;
use openvm_rv32im_circuit::LessThanCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{Adapter, COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = LessThanCoreRecord<LIMBS, 8>;

trace_kernel! {
    /// Comparisons of 256-bit integers.
    LESS_THAN = LessThan("openvm/bigint/less_than.wgsl") {
        chip: Rv32LessThan256Chip<F>,
        columns: COLUMNS + 102,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: COLUMNS,
        record: |random| {
            let mut record = random.wide_operation();
            record.push(random.packed(2));
            record
        },
    }
}
