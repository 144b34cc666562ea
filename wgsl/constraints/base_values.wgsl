// Values of a thread that evaluates four rows of a base-field tile at once: a vector holds one value for each row.
//
// Four adjacent rows share the decoding of an instruction and are one load of a column. A tile has room for whole blocks of 64 rows
// (rap/tile_at.wgsl); the rows behind the last one are evaluated, but not stored.
// The frame declares `tile` (as vectors) and `weight`.
#import field/ext

alias Value = vec4<u32>;

/// The first row of this thread, over four.
var<private> quad: u32;

/// Where column 0 has them; column c is 16 c vectors further.
var<private> quad_at: u32;

/// Sums in the extension, coefficient by coefficient: component k of each vector belongs to row k.
var<private> acc0: array<Value, 4>;
var<private> acc1: array<Value, 4>;

/// Chooses the four rows from row 4 q on of a tile of so many columns that begins at this vector.
fn choose_quad(q: u32, tile_at: u32, columns: u32) {
    quad = q;
    quad_at = tile_at + (q >> 4u) * columns * 16u + (q & 15u);
}

fn column(c: u32) -> Value {
    return tile[quad_at + c * 16u];
}

fn lift(word: u32) -> Value {
    return vec4<u32>(word);
}

fn v_add(a: Value, b: Value) -> Value {
    return e_add(a, b);
}

fn v_sub(a: Value, b: Value) -> Value {
    return e_sub(a, b);
}

fn v_neg(a: Value) -> Value {
    return e_neg(a);
}

fn v_mul(a: Value, b: Value) -> Value {
    return vec4<u32>(f_mul(a.x, b.x), f_mul(a.y, b.y), f_mul(a.z, b.z), f_mul(a.w, b.w));
}

fn v_scale(a: Value, word: u32) -> Value {
    return e_scale(a, word);
}

fn accumulate(acc: u32, k: u32, a: Value) {
    let w = weight(k);
    let x = v_scale(a, w.x);
    let y = v_scale(a, w.y);
    let z = v_scale(a, w.z);
    let t = v_scale(a, w.w);
    if acc == 0u {
        acc0 = array<Value, 4>(v_add(acc0[0], x), v_add(acc0[1], y), v_add(acc0[2], z), v_add(acc0[3], t));
    } else {
        acc1 = array<Value, 4>(v_add(acc1[0], x), v_add(acc1[1], y), v_add(acc1[2], z), v_add(acc1[3], t));
    }
}

fn accumulate0(k: u32, a: Value) {
    accumulate(0u, k, a);
}

fn accumulate1(k: u32, a: Value) {
    accumulate(1u, k, a);
}

/// What accumulator 1 holds for row k.
fn sum1(k: u32) -> Ext {
    return vec4<u32>(acc1[0][k], acc1[1][k], acc1[2][k], acc1[3][k]);
}

fn sum0(k: u32) -> Ext {
    return vec4<u32>(acc0[0][k], acc0[1][k], acc0[2][k], acc0[3][k]);
}

#if EMIT
#import constraints/fractions

/// The fractions of the four rows, whose messages accumulator 1 holds.
fn write_quad(rows: TileRows, offset: u32, numerators_of_rows: Value) {
    write_fraction(rows, 4u * quad, offset, numerators_of_rows.x, sum1(0u));
    write_fraction(rows, 4u * quad + 1u, offset, numerators_of_rows.y, sum1(1u));
    write_fraction(rows, 4u * quad + 2u, offset, numerators_of_rows.z, sum1(2u));
    write_fraction(rows, 4u * quad + 3u, offset, numerators_of_rows.w, sum1(3u));
    acc1 = array<Value, 4>();
}
#endif

/// What accumulator a holds for row k.
fn row_sum(a: u32, k: u32) -> Ext {
    if a == 0u {
        return sum0(k);
    }
    return sum1(k);
}
