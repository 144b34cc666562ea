// f[row] += sum_s mu^s q(row, s) over the cells of one block of the stacked matrix q, the algebraic batching of WHIR.
//
// The block is `cells` consecutive cells in column-major order of q (height 2^log_height), the first in row `first_row` of column
// `first_column`; it touches `columns` columns. Cell c of the block is source[start + (c >> log_stride)] where 2^log_stride divides c, else
// zero (traces lower than 2^l_skip are strided).
// mu: powers of mu, one a column of q. f: 2^log_height extension elements.
//
// A workgroup takes 1024 of the `rows` rows from first_row on (cyclically), a thread four of them, 256 apart, so that a power of mu serves
// four cells and neighbours read neighbouring cells; four columns share a Montgomery reduction. No two threads have a row in common.
// Reads the block once (4 bytes a cell), reads and writes 16 bytes a row.
// Host reference: the sum, from the cells of upstream's stacked matrix.
#import grid
#import field/ext

#interface

/// A cell of the block; zero for cells outside of it (`cell` may be negative, as a wrapped integer) and between strided ones.
fn value(cell: u32) -> u32 {
    let present = cell < params.cells && (cell & ((1u << params.log_stride) - 1u)) == 0u;
    return select(0u, source[params.start + (select(0u, cell, present) >> params.log_stride)], present);
}

/// The contribution of the cells of a row in four columns, the first being `cell`; m[i] are the i-th coefficients of the powers of mu.
fn four_columns(cell: u32, m: Powers) -> Ext {
    let height = 1u << params.log_height;
    let v = vec4<u32>(value(cell), value(cell + height), value(cell + 2u * height), value(cell + 3u * height));
    return vec4<u32>(f_dot4(m.a, v), f_dot4(m.b, v), f_dot4(m.c, v), f_dot4(m.d, v));
}

/// Four powers of mu by coefficient.
struct Powers {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

/// The powers that belong to columns `column`.. of the block; the last repeats past the end, where all cells are zero.
fn four_powers(column: u32) -> Powers {
    let last = params.columns - 1u;
    let x = mu[params.first_column + column];
    let y = mu[params.first_column + min(column + 1u, last)];
    let z = mu[params.first_column + min(column + 2u, last)];
    let w = mu[params.first_column + min(column + 3u, last)];
    return Powers(
        vec4<u32>(x.x, y.x, z.x, w.x),
        vec4<u32>(x.y, y.y, z.y, w.y),
        vec4<u32>(x.z, y.z, z.z, w.z),
        vec4<u32>(x.w, y.w, z.w, w.w),
    );
}

fn add_to_row(i: u32, row: u32, sum: Ext) {
    if i < params.rows {
        f[row] = e_add(f[row], sum);
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 1024u + local;
    let mask = (1u << params.log_height) - 1u;
    let row_0 = (params.first_row + i) & mask;
    let row_1 = (params.first_row + i + 256u) & mask;
    let row_2 = (params.first_row + i + 512u) & mask;
    let row_3 = (params.first_row + i + 768u) & mask;
    var sum_0 = E_ZERO;
    var sum_1 = E_ZERO;
    var sum_2 = E_ZERO;
    var sum_3 = E_ZERO;
    for (var column = 0u; column < params.columns; column += 4u) {
        let powers = four_powers(column);
        let cell = (column << params.log_height) - params.first_row;
        sum_0 = e_add(sum_0, four_columns(cell + row_0, powers));
        sum_1 = e_add(sum_1, four_columns(cell + row_1, powers));
        sum_2 = e_add(sum_2, four_columns(cell + row_2, powers));
        sum_3 = e_add(sum_3, four_columns(cell + row_3, powers));
    }
    add_to_row(i, row_0, sum_0);
    add_to_row(i + 256u, row_1, sum_1);
    add_to_row(i + 512u, row_2, sum_2);
    add_to_row(i + 768u, row_3, sum_3);
}
