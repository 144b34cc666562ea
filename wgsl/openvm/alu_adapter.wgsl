// The adapter of base ALU, less-than and shift: two operands, of which the second may be an immediate, and a result. Columns 0 to 18.
//
// Host reference: `Rv32BaseAluAdapterFiller`.
#import openvm/row

const ALU_RECORD: u32 = 10u;
const ALU_WIDTH: u32 = 19u;

struct Alu {
    pc: u32,
    timestamp: u32,
    rd: u32,
    rs1: u32,
    /// A register, or the immediate.
    rs2: u32,
    is_register: bool,
    read1: u32,
    read2: u32,
    write: u32,
    overwritten: u32,
}

fn load_alu(at: u32) -> Alu {
    return Alu(
        records[at],
        records[at + 1u],
        records[at + 2u],
        records[at + 3u],
        records[at + 4u],
        (records[at + 5u] & 0xffu) != 0u,
        records[at + 6u],
        records[at + 7u],
        records[at + 8u],
        records[at + 9u],
    );
}

fn put_alu(row: u32, alu: Alu) {
    put_u32(row, 0u, alu.pc);
    put_u32(row, 1u, alu.timestamp);
    put_u32(row, 2u, alu.rd);
    put_u32(row, 3u, alu.rs1);
    put_u32(row, 4u, alu.rs2);
    put_bool(row, 5u, alu.is_register);
    put_access(row, 6u, alu.read1, alu.timestamp);
    if alu.is_register {
        put_access(row, 9u, alu.read2, alu.timestamp + 1u);
    } else {
        put_zeros(row, 9u, 3u);
        count_bytes(limb(alu.rs2, 0u), limb(alu.rs2, 1u));
    }
    put_access(row, 12u, alu.write, alu.timestamp + 2u);
    put_limbs(row, 15u, alu.overwritten);
}
