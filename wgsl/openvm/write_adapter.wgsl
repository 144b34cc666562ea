// The adapter of instructions that only write a register. Columns 0 to 9.
//
// Host reference: `Rv32RdWriteAdapterFiller`, `Rv32CondRdWriteAdapterFiller`.
#import openvm/row

const WRITE_RECORD: u32 = 5u;
const WRITE_WIDTH: u32 = 10u;

struct Write {
    pc: u32,
    timestamp: u32,
    /// NO_REGISTER where nothing is written.
    rd: u32,
    write: u32,
    overwritten: u32,
}

fn load_write(at: u32) -> Write {
    return Write(records[at], records[at + 1u], records[at + 2u], records[at + 3u], records[at + 4u]);
}

fn put_write(row: u32, write: Write) {
    put_u32(row, 0u, write.pc);
    put_u32(row, 1u, write.timestamp);
    if write.rd != NO_REGISTER {
        put_u32(row, 2u, write.rd);
        put_access(row, 3u, write.write, write.timestamp);
        put_limbs(row, 6u, write.overwritten);
    } else {
        put_zeros(row, 2u, 8u);
    }
}
