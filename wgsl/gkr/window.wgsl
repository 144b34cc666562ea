// One pass over a layer's table for a window of two sumcheck variables x_a, x_{a+1}:
//   G(u, v) = sum_y eq(xi_{a+2..}, y) (p0' q1 + p1 q0)(u, v, y)      for u, v in {0, 1, inf},    p0' = p0 + lambda q0,
// where "inf" is the leading coefficient in that variable. From the nine sums the round polynomials of both variables follow
// (rounds.wgsl), so that a table is read once for two rounds.
//
// The table has two fractions for each point x of the hypercube, (p0, q0) at 2 x and (p1, q1) at 2 x + 1. It is
//   - a level of the fraction tree (`raw`: lambda is still to be applied), either stored, or `rise` levels above the source and summed
//     here from its 2^rise fractions each (the levels just below the leaves' are never stored);
//   - or the result of an earlier pass, which holds p0' in the place of p0.
// With `fold`, the two variables of the last window are folded first, at (r_0, r_1): x' = the fold of 4 x' .. 4 x' + 3, written to the
// target (with p0'), and the sums are those of the folded table. Pieces of long tables are separate dispatches.
//
// With BASE_NUMERATORS, the source's numerators are of the base field: leaves, which are `raw`.
// Source fractions from `real` on are padding (0 / alpha^(2^squarings), or with p0'), and points wholly of padding are left out: they are all
// alike, so rounds.wgsl adds their part from the sum of the eq weights, the tenth sum, which it subtracts from 1.
//
// A workgroup takes tiles of 256 consecutive x' (or x): each thread folds one and leaves (w p0', q0, w p1, q1), w the eq weight, in
// workgroup memory; then threads (v, y) of three groups of 64 evaluate the points (0, v), (1, v), (inf, v) of one y each; the fourth group
// adds up the weights. Partial sums: ten for each workgroup, at slot `slot` + workgroup.
//
// One pass: reads 32 (or 20) bytes a source fraction, writes 8 bytes a fraction with `fold`. Extension products a fraction (rise 0): 4 without
// `fold` (1 of them for lambda), 2.5 with it.
// Host reference: the sums by their definition.
#import grid
#import gkr/fraction
#import gkr/numerator
#import gkr/state

#interface

/// The four columns of a tile, [column][x mod 4][y]; rows are padded so that neighbouring x fall into different banks. Later the
/// reduction's scratch.
const ROW: u32 = 66u;
const COLUMN: u32 = 264u;
var<workgroup> tile: array<vec4<u32>, 1056>;
var<workgroup> weights: array<vec4<u32>, 64>;

/// A padding fraction; the numerator is that of even ones, odd ones have none.
var<private> padding_p: Ext;
var<private> padding_q: Ext;

fn source(i: u32) -> Fraction {
    let real = i < params.real;
    let at = select(0u, i, real);
    let there = vec4<bool>(real);
    let p = select(E_ZERO, padding_p, vec4<bool>((i & 1u) == 0u));
    return Fraction(select(p, numerator(at), there), select(padding_q, source_q[at], there));
}

/// Fraction i of the table.
fn node(i: u32) -> Fraction {
    let count = 1u << params.rise;
    var sum = source(i * count);
    for (var k = 1u; k < count; k++) {
        sum = fraction_sum(sum, source(i * count + k));
    }
    return sum;
}

/// The fractions of a point: (p0, q0) and (p1, q1).
struct Entry {
    even: Fraction,
    odd: Fraction,
}

/// The points at fractions `at` and `at` + 2, folded.
fn fold_pair(at: u32, r: Ext) -> Entry {
    // neighbours are loaded together
    let even = node(at);
    let odd = node(at + 1u);
    let next_even = node(at + 2u);
    let next_odd = node(at + 3u);
    return Entry(fraction_fold(even, next_even, r), fraction_fold(odd, next_odd, r));
}

/// Point x, folded where asked for.
fn entry(x: u32) -> Entry {
    if params.fold == 0u {
        return Entry(node(2u * x), node(2u * x + 1u));
    }
    let r0 = state[R_0];
    let r1 = state[R_1];
    let low = fold_pair(8u * x, r0);
    let high = fold_pair(8u * x + 4u, r0);
    return Entry(fraction_fold(low.even, high.even, r1), fraction_fold(low.odd, high.odd, r1));
}

fn store_tile(local: u32, w: Ext, p0: Ext, q0: Ext, p1: Ext, q1: Ext) {
    if (local & 3u) == 0u {
        weights[local >> 2u] = w;
    }
    let at = (local & 3u) * ROW + (local >> 2u);
    tile[at] = p0;
    tile[COLUMN + at] = q0;
    tile[2u * COLUMN + at] = p1;
    tile[3u * COLUMN + at] = q1;
}

/// Folds, writes and weighs x' = `first` + k.
fn fill(k: u32, local: u32) {
    let x = entry(params.first + k);
    var even = x.even;
    let odd = x.odd;
    if params.raw != 0u {
        even.p = e_add(even.p, e_mul(state[LAMBDA], even.q));
    }
    if params.fold != 0u {
        let to = params.target_at + 2u * k;
        target_p[to] = even.p;
        target_q[to] = even.q;
        target_p[to + 1u] = odd.p;
        target_q[to + 1u] = odd.q;
    }
    let y = params.first_y + (k >> 2u);
    let w = e_mul(eq[params.low_at + (y & ((1u << params.low_vars) - 1u))], eq[params.high_at + (y >> params.low_vars)]);
    store_tile(local, w, e_mul(w, even.p), even.q, e_mul(w, odd.p), odd.q);
}

/// Column c at (u, v, y) for u = 0, 1; v = 2 is infinity.
fn column(c: u32, u: u32, v: u32, y: u32) -> Ext {
    let at = c * COLUMN + u * ROW + y;
    if v == 2u {
        return e_sub(tile[at + 2u * ROW], tile[at]);
    }
    return tile[at + 2u * v * ROW];
}

fn product(p0: Ext, q0: Ext, p1: Ext, q1: Ext) -> Ext {
    return e_add(e_mul(p0, q1), e_mul(p1, q0));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let v = local >> 6u;
    let y = local & 63u;
    padding_q = state[PADDING + params.squarings];
    padding_p = E_ZERO;
    if params.raw == 0u {
        padding_p = e_mul(state[LAMBDA], padding_q);
    }
    var sums = array<vec4<u32>, 3>(E_ZERO, E_ZERO, E_ZERO);
    let stride = 256u * num_workgroups.x * num_workgroups.y;
    for (var base = 256u * workgroup; base < params.len; base += stride) {
        if base + local < params.len {
            fill(base + local, local);
        } else {
            store_tile(local, E_ZERO, E_ZERO, E_ZERO, E_ZERO, E_ZERO);
        }
        workgroupBarrier();
        if v < 3u {
            let p0 = column(0u, 0u, v, y);
            let q0 = column(1u, 0u, v, y);
            let p1 = column(2u, 0u, v, y);
            let q1 = column(3u, 0u, v, y);
            let p0_1 = column(0u, 1u, v, y);
            let q0_1 = column(1u, 1u, v, y);
            let p1_1 = column(2u, 1u, v, y);
            let q1_1 = column(3u, 1u, v, y);
            sums[0] = e_add(sums[0], product(p0, q0, p1, q1));
            sums[1] = e_add(sums[1], product(p0_1, q0_1, p1_1, q1_1));
            sums[2] = e_add(sums[2], product(e_sub(p0_1, p0), e_sub(q0_1, q0), e_sub(p1_1, p1), e_sub(q1_1, q1)));
        } else {
            sums[0] = e_add(sums[0], weights[y]);
        }
        workgroupBarrier();
    }
    let at = 10u * y + 3u * v;
    tile[at] = sums[0];
    if v < 3u {
        tile[at + 1u] = sums[1];
        tile[at + 2u] = sums[2];
    }
    store_sums(local, params.slot + workgroup);
}

/// Adds up the 64 sums for each of the ten, [y][v][u], to 16, 4 and 1.
fn store_sums(local: u32, slot: u32) {
    workgroupBarrier();
    if local < 160u {
        tile[local] = e_add(e_add(tile[local], tile[local + 160u]), e_add(tile[local + 320u], tile[local + 480u]));
    }
    workgroupBarrier();
    if local < 40u {
        tile[local] = e_add(e_add(tile[local], tile[local + 40u]), e_add(tile[local + 80u], tile[local + 120u]));
    }
    workgroupBarrier();
    if local < 10u {
        let sum = e_add(e_add(tile[local], tile[local + 10u]), e_add(tile[local + 20u], tile[local + 30u]));
        partials[slot * 10u + local] = sum;
    }
}
