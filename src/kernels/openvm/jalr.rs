//! JALR (`wgsl/openvm/jalr.wgsl`).

use openvm_rv32im_circuit::{adapters::Rv32JalrAdapterRecord, Rv32JalrChip, Rv32JalrCoreRecord};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{row_of, trace_kernel};

type Adapter = Rv32JalrAdapterRecord;
type Core = Rv32JalrCoreRecord;

trace_kernel! {
    /// JALR.
    JALR = Jalr("openvm/jalr.wgsl") {
        chip: Rv32JalrChip<F>,
        columns: 28,
        layout: row_of::<Adapter, Core>(),
        adapter_columns: 15,
        record: |random| {
            let timestamp = random.timestamp();
            let (read, write) = (random.before(timestamp), random.before(timestamp + 1));
            let (pc, target, register) = (random.pc(), random.pc(), random.register_or_none());
            let (offset, is_negative) = (random.word() & 0xffff, random.packed(2));
            // where the jump goes
            let extended = offset | if is_negative & 0xff == 1 { 0xffff_0000 } else { 0 };
            let padding = random.word() << 16;
            vec![
                pc,
                timestamp,
                random.register(),
                register,
                read,
                write,
                random.word(),
                offset | padding,
                pc,
                target.wrapping_sub(extended),
                is_negative,
            ]
        },
    }
}
