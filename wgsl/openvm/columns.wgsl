// Writing the columns of a trace that are in the segment of the matrix that is bound.
//
// The importer binds the segment as `out` and has `height`, `first_column` and `columns` among its parameters.
#import field/baby_bear

fn put(row: u32, column: u32, value: u32) {
    let c = column - params.first_column;
    if c < params.columns {
        out[c * params.height + row] = value;
    }
}

/// An integer below p.
fn put_u32(row: u32, column: u32, x: u32) {
    put(row, column, f_from_u32(x));
}

fn put_bool(row: u32, column: u32, x: bool) {
    put(row, column, select(0u, F_ONE, x));
}

fn put_zeros(row: u32, column: u32, columns: u32) {
    for (var i = 0u; i < columns; i++) {
        put(row, column + i, 0u);
    }
}
