// The adapter of branches on 256-bit integers in memory: two registers point to operands of eight words. Columns 0 to 65.
//
// A record has the words pc, timestamp, rs1, rs2, what is in these, when they were accessed before, and when the words of the operands
// were. Host reference: `Rv32VecHeapBranchAdapterFiller`.
#import openvm/heap_reads

const HEAP_BRANCH_RECORD: u32 = 24u;
const HEAP_BRANCH_WIDTH: u32 = 66u;

fn put_heap_branch(row: u32, record: u32) {
    put_words(row, 0u, record, 4u);
    put_bytes(row, 4u, record + 4u, 2u);
    count_bytes(pointer_top(records[record + 4u]), pointer_top(records[record + 5u]));
    // two registers and two operands, one after the other
    put_accesses(row, 12u, record + 6u, records[record + 1u], 2u + 16u);
}
