// The adapter of operations on 256-bit integers in memory: three registers point to two operands and a result of eight words each.
// Columns 0 to 129.
//
// A record has the words pc, timestamp, rs1, rs2, rd, what is in rs1, rs2 and rd, when these were accessed before, when the words of the
// operands were, and for each word of the result when it was and what was there. Host reference: `Rv32VecHeapAdapterFiller`.
#import openvm/heap_reads

const HEAP_RECORD: u32 = 43u;
const HEAP_WIDTH: u32 = 130u;

fn put_heap(row: u32, record: u32) {
    let timestamp = records[record + 1u];
    let rd = records[record + 7u];
    put_words(row, 0u, record, 5u);
    put_bytes(row, 5u, record + 5u, 3u);
    count_bytes(pointer_top(records[record + 5u]), pointer_top(records[record + 6u]));
    count_bytes(pointer_top(rd), pointer_top(rd));
    // three registers and two operands, one after the other
    put_accesses(row, 17u, record + 8u, timestamp, 3u + 16u);
    for (var i = 0u; i < 8u; i++) {
        let column = 74u + 7u * i;
        let write = record + 27u + 2u * i;
        put_access(row, column, records[write], timestamp + 19u + i);
        put_limbs(row, column + 3u, records[write + 1u]);
    }
}
