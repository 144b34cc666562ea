// The polynomials of the rounds of rounds.wgsl, from the sums of a window.
//
// A round of variable a + k with the window's polynomial T(X_0, X_1) (given at {0, 1, inf}^2, without the eq factors of its own variables):
//   t(X) = (1 - xi_{a+1}) T(X, 0) + xi_{a+1} T(X, 1)  for k = 0,   t(X) = T(r_0, X)  for k = 1 (or a window of one variable: T(X)),
//   s(X) = prefix * eq(xi_{a+k}, X) * t(X) observed at 1, 2, 3;   prefix = product of eq(xi_i, r_i) over the rounds before.
// These are upstream's values exactly; nothing is inverted and no claim is used.
//
// The importer declares `params` (`slots`, `padded`, `levels`, `layer`), `partials`, `scratch`, `shared_ext` and `share_ext`, `Place` and `Challenges`.
#import field/ext
#import gkr/state

/// Among the shared words: T(u, v) at u + 3 v, 2 standing for infinity, then the sum of the eq weights.
const GRID: u32 = STATE;

fn grid(i: u32) -> Ext {
    return shared_ext(GRID + i);
}


/// The partial sums of window.wgsl into the same 160 places. 120 = 10 * 12 threads, eight loads in flight each.
fn add_partials(local: u32) {
    let end = 10u * params.slots;
    if local < 120u {
        var sum = E_ZERO;
        var i = local;
        for (; i + 840u < end; i += 960u) {
            let a = e_add(e_add(partials[i], partials[i + 120u]), e_add(partials[i + 240u], partials[i + 360u]));
            let b = e_add(e_add(partials[i + 480u], partials[i + 600u]), e_add(partials[i + 720u], partials[i + 840u]));
            sum = e_add(sum, e_add(a, b));
        }
        for (; i < end; i += 120u) {
            sum = e_add(sum, partials[i]);
        }
        scratch[local] = sum;
    }
    if local < 40u {
        scratch[120u + local] = E_ZERO;
    }
}

fn reduce_sums(local: u32) {
    workgroupBarrier();
    if local < 40u {
        scratch[local] = e_add(
            e_add(scratch[local], scratch[local + 40u]),
            e_add(scratch[local + 80u], scratch[local + 120u]),
        );
    }
    workgroupBarrier();
    if local < 10u {
        let low = e_add(scratch[local], scratch[local + 10u]);
        share_ext(GRID + local, e_add(low, e_add(scratch[local + 20u], scratch[local + 30u])));
    }
    workgroupBarrier();
}

/// Adds the points of padding to T: there p0' = lambda q, q0 = q1 = q and p1 = 0 are constant, so only T(0 and 1, 0 and 1) change.
fn add_padding(local: u32, lambda: Ext) {
    if params.padded != 0u && local < 4u {
        let q_squared = shared_ext(PADDING + params.levels - params.layer);
        let weight = e_sub(E_ONE, grid(9u));
        let at = (local & 1u) + 3u * (local >> 1u);
        share_ext(GRID + at, e_add(grid(at), e_mul(e_mul(lambda, q_squared), weight)));
    }
    workgroupBarrier();
}

/// f(i + 1) for the quadratic f with f(0), f(1) and the leading coefficient at `at`, `at` + `stride` and `at` + 2 `stride` of the grid.
fn quadratic(i: u32, at: u32, stride: u32) -> Ext {
    var value = grid(at + stride);
    if i > 0u {
        let slope = e_sub(value, grid(at));
        let c2 = e_double(grid(at + 2u * stride));
        value = e_add(e_add(value, slope), c2);
        if i == 2u {
            value = e_add(e_add(value, slope), e_double(c2));
        }
    }
    return value;
}

/// s(i + 1) for i = 0, 1, 2: t(i + 1) is linear or quadratic in the other variable of the window, whose value is xi or r_0.
fn round_value(i: u32, place: Place, c: Challenges) -> Ext {
    let at = point_at(place.layer) + place.first;
    let stride = 1u + 2u * place.k;
    let next = 4u - stride;
    var t = quadratic(i, 0u, stride);
    if place.width == 2u {
        let slope = e_sub(quadratic(i, next, stride), t);
        var x = shared_ext(at + 1u);
        var leading = E_ZERO;
        if place.k == 1u {
            x = c.r0;
            leading = quadratic(i, 2u * next, stride);
        }
        t = e_add(t, e_mul(x, e_add(e_sub(slope, leading), e_mul(x, leading))));
    }
    // eq(xi, X) = (2 X - 1) xi + 1 - X
    let xi = shared_ext(at + place.k);
    let eq_step = e_sub(e_double(xi), E_ONE);
    var eq = xi;
    for (var j = 0u; j < i; j++) {
        eq = e_add(eq, eq_step);
    }
    return e_mul(e_mul(c.prefix, eq), t);
}

