//! JAL and LUI (`wgsl/openvm/jal_lui.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32RdWriteAdapterRecord, Rv32JalLuiChip, Rv32JalLuiCoreRecord};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32RdWriteAdapterRecord;
type Core = Rv32JalLuiCoreRecord;

trace_kernel! {
    /// JAL and LUI.
    JAL_LUI = JalLui("openvm/jal_lui.wgsl") {
        chip: Rv32JalLuiChip<F>,
        columns: 18,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 11,
        record: |random| {
            let mut record = random.write_adapter(true);
            let is_jal = random.packed(2);
            let value = if is_jal & 0xff == 1 { random.pc() } else { random.word() & !0xfff };
            record.extend([random.immediate(), value, is_jal]);
            record
        },
    }
}
