// Reading a tile's columns out of a trace segment: trace columns, their rotation by one row, and the selectors, all lifted.
//
// A column's source is kind << 28 | column of the segment, with the kinds of kernels::rap::tile: 0 the column, 1 the column one row
// further (cyclically), 2, 3, 4 the selectors first row, transition, last row. Rows beyond the height repeat the trace (the lift of
// a trace that is shorter than 2^l_skip). The height is a power of two.
// A kernel that imports this declares `segment: array<u32>` (column-major). With PACKED it says where in it the trace lies.
#import field/baby_bear

#if PACKED
/// The trace's first cell, and log2 of the distance of its cells.
var<private> packed_at: u32;
var<private> packed_log_stride: u32;

fn trace_cell(i: u32) -> u32 {
    return segment[packed_at + (i << packed_log_stride)];
}
#else
fn trace_cell(i: u32) -> u32 {
    return segment[i];
}
#endif

/// Row `row` of the lifted column `source` of a trace of `height` rows.
fn column_value(source: u32, row: u32, height: u32) -> u32 {
    let kind = source >> 28u;
    let at = (row + select(0u, 1u, kind == 1u)) & (height - 1u);
    if kind <= 1u {
        return trace_cell((source & 0xfffffffu) * height + at);
    }
    let edge = select(height - 1u, 0u, kind == 2u);
    return select(0u, F_ONE, (at == edge) != (kind == 3u));
}
