// The rows that queries open: opened[query][t][first_column + column] = (row leaf + t stride, column) of a panel, t < rows_per_query.
//
// `leaf` is the low `bits` bits of word first_word + query of the transcript's tape and stride = 2^bits; the word of (row, column) is
// panel[row * row_stride + column * column_stride]; opened rows have `width` columns. One thread a word.
// Host reference: MerkleTree::get_opened_rows.
#import grid
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i >= params.queries * params.rows_per_query * params.columns {
        return;
    }
    let column = i % params.columns;
    let place = i / params.columns;
    let leaf = tape_bits(params.first_word + place / params.rows_per_query, params.bits);
    let row = leaf + ((place % params.rows_per_query) << params.bits);
    opened[place * params.width + params.first_column + column] = panel[row * params.row_stride + column * params.column_stride];
}
