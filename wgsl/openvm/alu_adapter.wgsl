// The adapter of base ALU, less-than and shift: two operands, of which the second may be an immediate, and a result. Columns 0 to 18.
//
// A record has the words pc, timestamp, rd, rs1, rs2 or the immediate, whether it is a register (a byte), when rs1, rs2 and rd were
// accessed before, and what was in rd. Host reference: `Rv32BaseAluAdapterFiller`.
#import openvm/row

const ALU_RECORD: u32 = 10u;
const ALU_WIDTH: u32 = 19u;

fn put_alu(row: u32, record: u32) {
    let timestamp = records[record + 1u];
    let rs2 = records[record + 4u];
    let is_register = (records[record + 5u] & 0xffu) != 0u;
    put_words(row, 0u, record, 5u);
    put_bool(row, 5u, is_register);
    put_access(row, 6u, records[record + 6u], timestamp);
    if is_register {
        put_access(row, 9u, records[record + 7u], timestamp + 1u);
    } else {
        put_zeros(row, 9u, 3u);
        count_bytes(limb(rs2, 0u), limb(rs2, 1u));
    }
    put_access(row, 12u, records[record + 8u], timestamp + 2u);
    put_limbs(row, 15u, records[record + 9u]);
}
