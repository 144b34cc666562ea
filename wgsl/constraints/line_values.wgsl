// Values of a thread that evaluates one point on a line over the extension: t(X) = t_0 + (t_1 - t_0) X of every column, where t_0 and t_1 are
// neighbouring rows of the tile.
//
// The frame declares `tile`, `column` (by `value_on_line`) and `weight`.
#import field/ext

alias Value = Ext;

/// Row of t_0.
var<private> row: u32;
/// X.
var<private> point: u32;

var<private> acc0: Ext;
var<private> acc1: Ext;

/// The value of a column whose t_0 is at `at` of the tile: t_0 itself where the tile has one row.
fn value_on_line(at: u32, points: u32, one_row: bool) -> Value {
    let t_0 = tile[at];
    if one_row {
        return t_0;
    }
    let t_1 = tile[at + 1u];
    let slope = e_sub(t_1, t_0);
    if points > 3u {
        return e_add(t_0, e_scale(slope, f_from_u32(point)));
    }
    // t_1 + (X - 1) slope: additions are cheaper than four products
    let at_2 = e_add(t_1, select(E_ZERO, slope, point >= 2u));
    return e_add(at_2, select(E_ZERO, slope, point == 3u));
}

fn lift(word: u32) -> Value {
    return e_from_base(word);
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
    return e_mul(a, b);
}

fn v_scale(a: Value, word: u32) -> Value {
    return e_scale(a, word);
}

fn accumulate(acc: u32, k: u32, a: Value) {
    let term = e_mul(weight(k), a);
    if acc == 0u {
        acc0 = e_add(acc0, term);
    } else {
        acc1 = e_add(acc1, term);
    }
}

fn accumulate0(k: u32, a: Value) {
    accumulate(0u, k, a);
}

fn accumulate1(k: u32, a: Value) {
    accumulate(1u, k, a);
}
