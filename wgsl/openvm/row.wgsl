// The frame of kernels that fill a trace of a chip from its records: bindings, columns, and the walk over rows.
//
// A chip has RECORD (words of a record), WIDTH (columns) and `fill(row, record)`, which writes every column of a row; `record` is the first
// word of its record. A dispatch fills `rows` rows of a trace from `first_row` on. The first `used` of them have records, the others
// pad. It writes those columns that are in the segment of the matrix that is bound, and counts with the first segment only.
#import grid
#import openvm/columns

struct Params {
    first_row: u32,
    rows: u32,
    used: u32,
    height: u32,
    first_column: u32,
    columns: u32,
    range_bits: u32,
    timestamp_bits: u32,
    pointer_bits: u32,
    bitwise_at: u32,
    tuples_at: u32,
    tuple_size: u32,
}

@group(0) @binding(0) var<storage, read> records: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
var<immediate> params: Params;

const THREADS: u32 = 256u;

fn limb(word: u32, i: u32) -> u32 {
    return (word >> (8u * i)) & 0xffu;
}

/// The four bytes of a word.
fn put_limbs(row: u32, column: u32, word: u32) {
    for (var i = 0u; i < 4u; i++) {
        put_u32(row, column + i, limb(word, i));
    }
}

fn put_zeros(row: u32, column: u32, columns: u32) {
    for (var i = 0u; i < columns; i++) {
        put(row, column + i, 0u);
    }
}

/// A one at `at`, zeros at the other places; `at` may be none of them.
fn put_marker(row: u32, column: u32, columns: u32, at: u32) {
    for (var i = 0u; i < columns; i++) {
        put_bool(row, column + i, i == at);
    }
}

#import openvm/counts

fn run(local: u32, workgroup: u32) {
    clear_hot(local);
    workgroupBarrier();
    let i = workgroup * THREADS + local;
    if i < params.rows {
        let row = params.first_row + i;
        if i < params.used {
            fill(row, i * RECORD);
        } else {
            put_zeros(row, 0u, WIDTH);
        }
    }
    workgroupBarrier();
    add_hot(local);
}
