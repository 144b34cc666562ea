// Writing the fractions of an AIR's interactions into the layer: that of an interaction at trace row r goes to offset + copy * height + r for
// each copy < lift. Only positions within window_start + [0, window_len) are written, since the layer comes in pieces.
//
// A kernel that imports this binds `numerators` (F) and `denominators` (EF) and has the parameters window_start and window_len.
#import field/ext

/// The rows of a tile, and where they belong.
struct TileRows {
    /// Rows of the tile, and which row of the trace its first is.
    count: u32,
    first: u32,
    /// Of the trace, which is repeated `lift` times.
    height: u32,
    lift: u32,
    /// What each denominator begins with.
    alpha: Ext,
}

/// The fraction of tile row `row`, unless there is no such row; `offset` is the interaction's.
fn write_fraction(rows: TileRows, row: u32, offset: u32, numerator: u32, message: Ext) {
    if row >= rows.count {
        return;
    }
    let denominator = e_add(rows.alpha, message);
    for (var copy = 0u; copy < rows.lift; copy++) {
        let at = offset + copy * rows.height + rows.first + row - params.window_start;
        if at < params.window_len {
            numerators[at] = numerator;
            denominators[at] = denominator;
        }
    }
}
