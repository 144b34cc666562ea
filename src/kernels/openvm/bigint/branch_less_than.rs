//! Branches on comparisons of 256-bit integers (`wgsl/openvm/bigint/branch_less_than.wgsl`).

use openvm_bigint_circuit::Rv32BranchLessThan256Chip;
use openvm_rv32im_circuit::BranchLessThanCoreRecord;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{BranchAdapter, BRANCH_COLUMNS, LIMBS};
use crate::kernels::openvm::{row_of, trace_kernel};

type Core = BranchLessThanCoreRecord<LIMBS, 8>;

trace_kernel! {
    /// Branches on comparisons of 256-bit integers.
    BRANCH_LESS_THAN = BranchLessThan("openvm/bigint/branch_less_than.wgsl") {
        chip: Rv32BranchLessThan256Chip<F>,
        columns: BRANCH_COLUMNS + 106,
        layout: row_of::<BranchAdapter, Core>(),
        adapter_columns: BRANCH_COLUMNS,
        record: |random| {
            let mut record = random.wide_branch();
            record.extend([random.immediate(), random.packed(4)]);
            record
        },
    }
}
