//! Branches on equality of 256-bit integers (`wgsl/openvm/bigint/branch_equal.wgsl`).

use openvm_bigint_circuit::Rv32BranchEqual256Chip;
use openvm_rv32im_circuit::BranchEqualCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{BranchAdapter, BRANCH_COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = BranchEqualCoreRecord<LIMBS>;

trace_kernel! {
    /// Branches on equality of 256-bit integers.
    BRANCH_EQUAL = BranchEqual("openvm/bigint/branch_equal.wgsl") {
        chip: Rv32BranchEqual256Chip<F>,
        columns: BRANCH_COLUMNS + 100,
        layout: row_of::<BranchAdapter, Core>(),
        adapter_columns: BRANCH_COLUMNS,
        record: |random| {
            let mut record = random.wide_branch();
            record.extend([random.immediate(), random.packed(2)]);
            record
        },
    }
}
