// The frame of kernels that fill a trace of a chip from its records: columns, and the walk over rows.
//
// A chip has RECORD (words of a record), WIDTH (columns) and `fill(row, record)`, which writes every column of a row; `record` is the first
// word of its record. A dispatch fills `rows` rows of a trace from `first_row` on. The first `used` of them have records, the others
// pad. It writes those columns that are in the segment of the matrix that is bound, and counts with the first segment only.
#import grid
#import openvm/columns

const THREADS: u32 = 256u;
/// In the place of a register: there is none.
const NO_REGISTER: u32 = 0xffffffffu;

/// The first words of a record, integers below p.
fn put_words(row: u32, column: u32, record: u32, words: u32) {
    for (var i = 0u; i < words; i++) {
        put_u32(row, column + i, records[record + i]);
    }
}

fn limb(word: u32, i: u32) -> u32 {
    return (word >> (8u * i)) & 0xffu;
}

/// The four bytes of a word.
fn put_limbs(row: u32, column: u32, word: u32) {
    for (var i = 0u; i < 4u; i++) {
        put_u32(row, column + i, limb(word, i));
    }
}

/// The four bytes of each of `words` words from `at` on in the records.
fn put_bytes(row: u32, column: u32, at: u32, words: u32) {
    for (var i = 0u; i < words; i++) {
        put_limbs(row, column + 4u * i, records[at + i]);
    }
}

/// A one at `at`, zeros at the other places; `at` may be none of them.
fn put_marker(row: u32, column: u32, columns: u32, at: u32) {
    for (var i = 0u; i < columns; i++) {
        put_bool(row, column + i, i == at);
    }
}

#import openvm/counts

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    clear_hot(local);
    workgroupBarrier();
    let i = linear_workgroup(workgroup_id, num_workgroups) * THREADS + local;
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
