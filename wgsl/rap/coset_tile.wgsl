// Tile of round 0: the columns' values on the cosets g^1 D, .., g^cosets D of the skip domain D, |D| = N = 2^l_skip.
//
//   tile[tile_at(column, (x * cosets + j) * N + i)] = T(g^(j+1) omega^i, first_x + x),   x < xs, j < cosets, i < N,
//
// where T(., x) is the polynomial of degree < N with the values of rows (first_x + x) * N + (0..N) of the (lifted) column on D.
// Columns: entries[start..start + count] as (source, tile column), see rap/columns.wgsl; the tile as rap/tile_at.wgsl lays it out.
// tables: omega^k for k < N / 2, omega^-k for k < N / 2, then for each coset g^((j+1) k) / N at the bit-reversed place of k.
//
// Values are taken 512 at a time in the order (column, x, i), so a workgroup holds whole chunks (l_skip <= 9) and no thread idles in
// narrow or short traces. Thread t owns places t and t + 256: one butterfly a layer. Inverse transform once (natural to bit-reversed
// order), then for each coset scale and transform back (to natural order); no reordering. Everything between one read and `cosets`
// writes of each value is in workgroup memory. Butterflies: count * xs * N / 2 * l_skip * (1 + cosets).
// Host reference: p3's idft and coset_dft (kernels::rap::tile::tests).
#import grid
#import rap/columns
#import rap/tile_at

#interface

const HALF: u32 = 256u;

var<workgroup> values: array<u32, 512>;

/// Where a value comes from and goes to.
struct Place {
    live: bool,
    source: u32,
    row: u32,
    /// Column and row of the tile that get the value on the first coset.
    column: u32,
    target_row: u32,
}

fn place(e: u32) -> Place {
    let n = 1u << params.l_skip;
    let per_column = params.xs << params.l_skip;
    if e >= params.count * per_column {
        return Place(false, 0u, 0u, 0u, 0u);
    }
    let entry = entries[params.start + e / per_column];
    let r = e % per_column;
    let x = r >> params.l_skip;
    let row = (params.first_x << params.l_skip) + r;
    return Place(true, entry.x, row, entry.y, x * params.cosets * n + (r & (n - 1u)));
}

/// Stores the value on coset j.
fn put(p: Place, j: u32, value: u32) {
    if p.live {
        tile[params.tile_at + tile_at(p.column, p.target_row + (j << params.l_skip), params.columns)] = value;
    }
}

fn value_at(p: Place) -> u32 {
    if p.live {
        return column_value(p.source, p.row, params.height);
    }
    return 0u;
}

/// The pair of a butterfly of distance 2^s for thread t.
fn pair(local: u32, s: u32) -> vec2<u32> {
    let j = local & ((1u << s) - 1u);
    let low = ((local - j) << 1u) + j;
    return vec2<u32>(low, low + (1u << s));
}

/// Index of the twiddle of a butterfly of distance 2^s.
fn twiddle(local: u32, s: u32) -> u32 {
    return (local & ((1u << s) - 1u)) << (params.l_skip - 1u - s);
}

/// Values on D to N times the coefficients, in bit-reversed order.
fn inverse_transform(local: u32) {
    let inverse = (1u << params.l_skip) >> 1u;
    for (var k = params.l_skip; k > 0u; k--) {
        workgroupBarrier();
        let at = pair(local, k - 1u);
        let a = values[at.x];
        let b = values[at.y];
        values[at.x] = f_add(a, b);
        values[at.y] = f_mul(f_sub(a, b), tables[inverse + twiddle(local, k - 1u)]);
    }
    workgroupBarrier();
}

/// Coefficients in bit-reversed order to values on D.
fn forward_transform(local: u32) {
    for (var s = 0u; s < params.l_skip; s++) {
        workgroupBarrier();
        let at = pair(local, s);
        let a = values[at.x];
        let b = f_mul(values[at.y], tables[twiddle(local, s)]);
        values[at.x] = f_add(a, b);
        values[at.y] = f_sub(a, b);
    }
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = linear_workgroup(workgroup_id, num_workgroups) * 512u + local;
    let p0 = place(e);
    let p1 = place(e + HALF);
    values[local] = value_at(p0);
    values[local + HALF] = value_at(p1);
    inverse_transform(local);
    let c0 = values[local];
    let c1 = values[local + HALF];
    let n = 1u << params.l_skip;
    let scale0 = n + (local & (n - 1u));
    let scale1 = n + ((local + HALF) & (n - 1u));
    if params.l_skip == 0u {
        for (var j = 0u; j < params.cosets; j++) {
            put(p0, j, c0);
            put(p1, j, c1);
        }
        return;
    }
    for (var j = 0u; j < params.cosets; j++) {
        values[local] = f_mul(c0, tables[scale0 + j * n]);
        values[local + HALF] = f_mul(c1, tables[scale1 + j * n]);
        forward_transform(local);
        put(p0, j, values[local]);
        put(p1, j, values[local + HALF]);
    }
}
