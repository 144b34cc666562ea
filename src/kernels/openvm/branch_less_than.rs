//! Branches on less-than (`wgsl/openvm/branch_less_than.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32BranchAdapterRecord, BranchLessThanCoreRecord, Rv32BranchLessThanChip};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32BranchAdapterRecord;
type Core = BranchLessThanCoreRecord<4, 8>;

trace_kernel! {
    /// Branches on less-than.
    BRANCH_LESS_THAN = BranchLessThan("openvm/branch_less_than.wgsl") {
        chip: Rv32BranchLessThanChip<F>,
        columns: 32,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 10,
        record: |random| {
            let mut record = random.branch_adapter();
            record.extend([random.word(), random.word(), random.immediate(), random.packed(4)]);
            record
        },
    }
}
