//! Branches on equality (`wgsl/openvm/branch_equal.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32BranchAdapterRecord, BranchEqualCoreRecord, Rv32BranchEqualChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32BranchAdapterRecord;
type Core = BranchEqualCoreRecord<4>;

trace_kernel! {
    /// Branches on equality.
    BRANCH_EQUAL = BranchEqual("openvm/branch_equal.wgsl") {
        chip: Rv32BranchEqualChip<F>,
        columns: 26,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 10,
        record: |random| {
            let mut record = random.branch_adapter();
            record.extend([random.word(), random.word(), random.immediate(), random.packed(2)]);
            record
        },
    }
}
