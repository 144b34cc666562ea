// Where a tile over the base field holds a value: rows in blocks of 64, in a block column by column.
//
//   tile[(row / 64) * columns * 64 + column * 64 + row % 64]
//
// So the columns that a thread reads for its row lie at constant distances, which generated code has in its load instructions, and
// the columns of a workgroup's rows lie together.

fn tile_at(column: u32, row: u32, columns: u32) -> u32 {
    return ((row >> 6u) * columns + column) * 64u + (row & 63u);
}
