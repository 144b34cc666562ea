// The adapter of products and quotients: two registers are read, one is written. Columns 0 to 17.
//
// Host reference: `Rv32MultAdapterFiller`.
#import openvm/row

const MUL_RECORD: u32 = 9u;
const MUL_WIDTH: u32 = 18u;

struct Registers {
    pc: u32,
    timestamp: u32,
    rd: u32,
    rs1: u32,
    rs2: u32,
    read1: u32,
    read2: u32,
    write: u32,
    overwritten: u32,
}

fn load_registers(at: u32) -> Registers {
    return Registers(
        records[at],
        records[at + 1u],
        records[at + 2u],
        records[at + 3u],
        records[at + 4u],
        records[at + 5u],
        records[at + 6u],
        records[at + 7u],
        records[at + 8u],
    );
}

fn put_registers(row: u32, registers: Registers) {
    put_u32(row, 0u, registers.pc);
    put_u32(row, 1u, registers.timestamp);
    put_u32(row, 2u, registers.rd);
    put_u32(row, 3u, registers.rs1);
    put_u32(row, 4u, registers.rs2);
    put_access(row, 5u, registers.read1, registers.timestamp);
    put_access(row, 8u, registers.read2, registers.timestamp + 1u);
    put_access(row, 11u, registers.write, registers.timestamp + 2u);
    put_limbs(row, 14u, registers.overwritten);
}
