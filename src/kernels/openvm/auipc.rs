//! AUIPC (`wgsl/openvm/auipc.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32RdWriteAdapterRecord, Rv32AuipcChip, Rv32AuipcCoreRecord};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32RdWriteAdapterRecord;
type Core = Rv32AuipcCoreRecord;

trace_kernel! {
    /// AUIPC.
    AUIPC = Auipc("openvm/auipc.wgsl") {
        chip: Rv32AuipcChip<F>,
        columns: 20,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 10,
        record: |random| {
            let mut record = random.write_adapter(false);
            record.extend([record[0], random.word() >> 8]);
            record
        },
    }
}
