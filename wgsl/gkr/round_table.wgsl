// The table of rounds.wgsl in workgroup memory: loading, folding, and the sums of a window.
//
// The importer declares `params` (`real`, `levels`, `layer`), `table_p` and `table_q`, `node`, `shared_ext`, `scratch` (640 vectors), `Challenges`
// and THREADS, which is 128.
#import gkr/fraction
#import gkr/state

/// Columns p0', q0, p1, q1 of up to 256 points.
const COLUMN: u32 = 256u;
var<workgroup> table: array<vec4<u32>, 1024>;
/// eq((xi_{n-m} .. xi_{n-1}), y) at 2^m + y, for the layer's n variables.
var<workgroup> suffix_eq: array<vec4<u32>, 128>;

fn store_entry(x: u32, even: Fraction, odd: Fraction) {
    table[x] = even.p;
    table[COLUMN + x] = even.q;
    table[2u * COLUMN + x] = odd.p;
    table[3u * COLUMN + x] = odd.q;
}

/// The table of a layer of `vars` variables from the heap.
fn load_level(local: u32, vars: u32, lambda: Ext) {
    for (var x = local; x < (1u << vars); x += THREADS) {
        let at = (2u << vars) + 2u * x;
        let even = node(at);
        store_entry(x, Fraction(e_add(even.p, e_mul(lambda, even.q)), even.q), node(at + 1u));
    }
}

fn stored(i: u32, padding_node: Fraction) -> Fraction {
    let real = i < params.real;
    let at = select(0u, i, real);
    let there = vec4<bool>(real);
    return Fraction(select(padding_node.p, table_p[at], there), select(padding_node.q, table_q[at], there));
}

/// The fold of the fractions `at`, `at` + 2, `at` + 4, `at` + 6.
fn folded(at: u32, r0: Ext, r1: Ext, padding_node: Fraction) -> Fraction {
    var low: Fraction;
    var high: Fraction;
    for (var i = at; i < at + 8u; i += 4u) {
        low = high;
        high = fraction_fold(stored(i, padding_node), stored(i + 2u, padding_node), r0);
    }
    return fraction_fold(low, high, r1);
}

/// The folded table of 2^`vars` points from the one in memory.
fn load_folded(local: u32, vars: u32, c: Challenges) {
    let q = shared_ext(PADDING + params.levels - params.layer - 1u);
    for (var x = local; x < (1u << vars); x += THREADS) {
        let even = folded(8u * x, c.r0, c.r1, Fraction(e_mul(c.lambda, q), q));
        let odd = folded(8u * x + 1u, c.r0, c.r1, Fraction(E_ZERO, q));
        store_entry(x, even, odd);
    }
}

/// Entry x of a column of the table folded by `width` variables.
fn folded_entry(column: u32, x: u32, width: u32, r0: Ext, r1: Ext) -> Ext {
    let at = column * COLUMN + (x << width);
    var low: Ext;
    var high: Ext;
    for (var i = at; i < at + 2u * width; i += 2u) {
        low = high;
        high = e_fold(table[i], table[i + 1u], r0);
    }
    if width == 1u {
        return high;
    }
    return e_fold(low, high, r1);
}

/// Folds the table in workgroup memory to 2^`vars` points (at most 64); one thread a point and two columns.
fn fold_table(local: u32, vars: u32, width: u32, c: Challenges) {
    let x = local & 63u;
    let in_range = x < (1u << vars);
    for (var half = 0u; half < 4u; half += 2u) {
        let column = half + (local >> 6u);
        var entry: Ext;
        if in_range {
            entry = folded_entry(column, x, width, c.r0, c.r1);
        }
        workgroupBarrier();
        if in_range {
            table[column * COLUMN + x] = entry;
        }
    }
}

fn fill_suffix_eq(local: u32, layer: u32) {
    let vars = firstLeadingBit(max(local, 1u));
    if local > 0u && vars <= layer {
        let end = point_at(layer) + layer;
        var product = E_ONE;
        for (var i = 0u; i < vars; i++) {
            let xi = shared_ext(end - vars + i);
            let one = (local & (1u << i)) != 0u;
            product = e_mul(product, select(e_sub(E_ONE, xi), xi, vec4<bool>(one)));
        }
        suffix_eq[local] = product;
    }
}

fn product(p0: Ext, q0: Ext, p1: Ext, q1: Ext) -> Ext {
    return e_add(e_mul(p0, q1), e_mul(p1, q0));
}

/// The table's entries `at` and `at` + 2 at X_1 = v.
fn entry(at: u32, v: u32) -> Ext {
    if v == 2u {
        return e_sub(table[at + 2u], table[at]);
    }
    return table[at + 2u * v];
}

/// Column c at the grid's point (u, v).
fn column(c: u32, u: u32, v: u32, y: u32, width: u32) -> Ext {
    let at = c * COLUMN + (y << width);
    if u == 2u {
        return e_sub(entry(at + 1u, v), entry(at, v));
    }
    return entry(at + u, v);
}

/// The term y of the window's `width` variables at (u, v).
fn window_term(u: u32, v: u32, y: u32, rest: u32, width: u32) -> Ext {
    let p0 = column(0u, u, v, y, width);
    let q0 = column(1u, u, v, y, width);
    let p1 = column(2u, u, v, y, width);
    let q1 = column(3u, u, v, y, width);
    return e_mul(suffix_eq[rest + y], product(p0, q0, p1, q1));
}

/// The sums of the next window of `width` variables into 160 = 10 * 16 places of the scratch memory; one thread a term or more.
fn window_sums(local: u32, vars: u32, width: u32) {
    let rest = 1u << (vars - width);
    let places = 10u * max(rest, 16u);
    for (var i = local; i < places; i += THREADS) {
        let y = i / 10u;
        let at = i - 10u * y;
        let v = at / 3u;
        var term = E_ZERO;
        // a window of one variable has v = 0 only
        if y < rest && v < 2u * width - 1u {
            term = window_term(at - 3u * v, v, y, rest, width);
        }
        scratch[i] = term;
    }
    if rest > 16u {
        workgroupBarrier();
        for (var i = local; i < 160u; i += THREADS) {
            var sum = scratch[i];
            for (var j = i + 160u; j < places; j += 160u) {
                sum = e_add(sum, scratch[j]);
            }
            scratch[i] = sum;
        }
    }
}


/// The claims p0, q0, p1, q1 from the fully folded table.
fn claim(i: u32, lambda: Ext) -> Ext {
    let value = table[i * COLUMN];
    if i == 0u {
        return e_sub(value, e_mul(lambda, table[(i + 1u) * COLUMN]));
    }
    return value;
}

