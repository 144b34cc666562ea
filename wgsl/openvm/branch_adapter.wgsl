// The adapter of branches: two registers are read. Columns 0 to 9.
//
// A record has the words pc, timestamp, rs1, rs2, and when the registers were accessed before. Host reference: `Rv32BranchAdapterFiller`.
#import openvm/row

const BRANCH_RECORD: u32 = 6u;
const BRANCH_WIDTH: u32 = 10u;

fn put_branch(row: u32, record: u32) {
    let timestamp = records[record + 1u];
    put_words(row, 0u, record, 4u);
    put_access(row, 4u, records[record + 4u], timestamp);
    put_access(row, 7u, records[record + 5u], timestamp + 1u);
}
