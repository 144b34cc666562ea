// The adapter of products and quotients: two registers are read, one is written. Columns 0 to 17.
//
// A record has the words pc, timestamp, rd, rs1, rs2, when rs1, rs2 and rd were accessed before, and what was in rd.
// Host reference: `Rv32MultAdapterFiller`.
#import openvm/row

const MUL_RECORD: u32 = 9u;
const MUL_WIDTH: u32 = 18u;

fn put_registers(row: u32, record: u32) {
    let timestamp = records[record + 1u];
    put_words(row, 0u, record, 5u);
    put_access(row, 5u, records[record + 5u], timestamp);
    put_access(row, 8u, records[record + 6u], timestamp + 1u);
    put_access(row, 11u, records[record + 7u], timestamp + 2u);
    put_limbs(row, 14u, records[record + 8u]);
}
