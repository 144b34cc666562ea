// The sequential part of the fractional sumcheck: what follows the sums of a window (window.wgsl) - two round polynomials, each
// observed and answered by a challenge - and everything that is too small to fill the device: the upper levels of the fraction tree, the
// first layers, and the last variables of the others. One workgroup.
//
//   Start (`slots` = 0): sums the heap's levels up to the root, observes q of the root and layer 1's claims, samples mu, then proves the
//     layers 1 ..= `last_layer` wholly here, each from its level in the heap.
//   Window (`slots` > 0, `tail` = 0): adds up the partial sums (and the part of the padding) of variables `first`, `first` + 1 and does their two rounds.
//   Tail (`slots` > 0, `tail` = 1): the same, then folds the table (of 2^`vars` points, `vars` <= 10, with p0' = p0 + lambda q0) into
//     workgroup memory, does the remaining rounds, observes the claims, and samples mu and the next layer's lambda.
//
// A round of variable a + k with the window's polynomial T(X_0, X_1) (given at {0, 1, inf}^2, without the eq factors of its own variables):
//   t(X) = (1 - xi_{a+1}) T(X, 0) + xi_{a+1} T(X, 1)  for k = 0,   t(X) = T(r_0, X)  for k = 1 (or a window of one variable: T(X)),
//   s(X) = prefix * eq(xi_{a+k}, X) * t(X) observed at 1, 2, 3;   prefix = product of eq(xi_i, r_i) over the rounds before.
// These are upstream's values exactly; nothing is inverted and no claim is used.
//
// Layout: heap: level k at 2^k + i; state: lambda, prefix, r_0, r_1, then two points of 32 (layer j's xi at 4 + 32 (j mod 2)).
// 128 threads: the permutation of the sponge is done by every subgroup alike, and of more than four an H200 does two in turn; 31 KiB of
// workgroup memory. Latency bound: per window about two transcript steps and eight barriers.
// Host reference: upstream's fractional_sumcheck.
#import gkr/fraction
#import transcript/duplex

struct Params {
    slots: u32,
    tail: u32,
    first: u32,
    vars: u32,
    layer: u32,
    last_layer: u32,
    // levels of the whole tree below the root
    levels: u32,
    // the heap's lowest level
    top: u32,
    absorb_index: u32,
    sample_index: u32,
    tape_at: u32,
    // fractions of the table in memory that are stored
    real: u32,
    // 0: no leaves are padding
    padded: u32,
}

@group(0) @binding(0) var<storage, read_write> heap_p: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> heap_q: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> table_p: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> table_q: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> partials: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> state: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> sponge: array<u32>;
@group(0) @binding(7) var<storage, read_write> tape: array<u32>;
@group(0) @binding(8) var<storage, read> round_constants: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> padding: array<vec4<u32>>;
var<immediate> params: Params;

const THREADS: u32 = 128u;

const START: u32 = 0u;
const ROUND: u32 = 1u;
const CLAIMS: u32 = 2u;

const STATE: u32 = 68u;
/// The table in workgroup memory: columns p0', q0, p1, q1 of up to 256 points.
const COLUMN: u32 = 256u;
var<workgroup> table: array<vec4<u32>, 1024>;
var<workgroup> scratch: array<vec4<u32>, 640>;
/// eq((xi_{n-m} .. xi_{n-1}), y) at 2^m + y, for the layer's n variables.
var<workgroup> suffix_eq: array<vec4<u32>, 128>;
/// What all threads read, words of extension elements: the state, then T(u, v) at u + 3 v, 2 standing for infinity, then the sum of
/// the eq weights.
var<workgroup> shared_words: array<atomic<u32>, 312>;
const GRID: u32 = STATE;

fn shared_ext(i: u32) -> Ext {
    let at = 4u * i;
    return vec4<u32>(
        atomicLoad(&shared_words[at]),
        atomicLoad(&shared_words[at + 1u]),
        atomicLoad(&shared_words[at + 2u]),
        atomicLoad(&shared_words[at + 3u]),
    );
}

fn share_ext(i: u32, value: Ext) {
    let at = 4u * i;
    atomicStore(&shared_words[at], value.x);
    atomicStore(&shared_words[at + 1u], value.y);
    atomicStore(&shared_words[at + 2u], value.z);
    atomicStore(&shared_words[at + 3u], value.w);
}

fn grid(i: u32) -> Ext {
    return shared_ext(GRID + i);
}

fn point_at(layer: u32) -> u32 {
    return 4u + 32u * (layer & 1u);
}

/// Levels `top` - 1 .. 0 of the heap.
fn build_heap(local: u32) {
    for (var level = params.top; level > 0u; level--) {
        let nodes = 1u << (level - 1u);
        for (var i = nodes + local; i < 2u * nodes; i += THREADS) {
            let sum = fraction_sum(
                Fraction(heap_p[2u * i], heap_q[2u * i]),
                Fraction(heap_p[2u * i + 1u], heap_q[2u * i + 1u]),
            );
            heap_p[i] = sum.p;
            heap_q[i] = sum.q;
        }
        storageBarrier();
        workgroupBarrier();
    }
}

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
        let q = heap_q[at];
        store_entry(x, Fraction(e_add(heap_p[at], e_mul(lambda, q)), q), Fraction(heap_p[at + 1u], heap_q[at + 1u]));
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
fn load_folded(local: u32, vars: u32, r0: Ext, r1: Ext, lambda: Ext) {
    let q = padding[params.levels - params.layer - 1u];
    for (var x = local; x < (1u << vars); x += THREADS) {
        let even = folded(8u * x, r0, r1, Fraction(e_mul(lambda, q), q));
        let odd = folded(8u * x + 1u, r0, r1, Fraction(E_ZERO, q));
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
fn fold_table(local: u32, vars: u32, width: u32, r0: Ext, r1: Ext) {
    let x = local & 63u;
    let in_range = x < (1u << vars);
    for (var half = 0u; half < 4u; half += 2u) {
        let column = half + (local >> 6u);
        var entry: Ext;
        if in_range {
            entry = folded_entry(column, x, width, r0, r1);
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

/// The partial sums of window.wgsl into the same 160 places. 120 = 10 * 12 threads, eight loads in flight each.
fn partial_sums(local: u32) {
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
        let q_squared = padding[params.levels - params.layer];
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
fn round_value(i: u32, k: u32, width: u32, at: u32, prefix: Ext, r0: Ext) -> Ext {
    let stride = 1u + 2u * k;
    let next = 4u - stride;
    var t = quadratic(i, 0u, stride);
    if width == 2u {
        let slope = e_sub(quadratic(i, next, stride), t);
        var x = shared_ext(at + 1u);
        var c = E_ZERO;
        if k == 1u {
            x = r0;
            c = quadratic(i, 2u * next, stride);
        }
        t = e_add(t, e_mul(x, e_add(e_sub(slope, c), e_mul(x, c))));
    }
    // eq(xi, X) = (2 X - 1) xi + 1 - X
    let xi = shared_ext(at + k);
    let eq_step = e_sub(e_double(xi), E_ONE);
    var eq = xi;
    for (var j = 0u; j < i; j++) {
        eq = e_add(eq, eq_step);
    }
    return e_mul(e_mul(prefix, eq), t);
}

/// The claims p0, q0, p1, q1 from the fully folded table.
fn claim(i: u32, lambda: Ext) -> Ext {
    let value = table[i * COLUMN];
    if i == 0u {
        return e_sub(value, e_mul(lambda, table[(i + 1u) * COLUMN]));
    }
    return value;
}

@compute @workgroup_size(THREADS)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_lane;
    if local < STATE {
        share_ext(local, state[local]);
    }
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    let window = params.slots > 0u && params.tail == 0u;
    // transcript steps: of a window two rounds, of a tail all rounds and the claims, at the start the root and the same for each layer
    var steps = 2u;
    var phase = ROUND;
    if params.slots > 0u {
        partial_sums(local);
        reduce_sums(local);
        add_padding(local, shared_ext(0u));
        steps = select(params.vars + 1u, 2u, window);
    } else {
        phase = START;
        build_heap(local);
        steps = 1u + params.last_layer * (params.last_layer + 3u) / 2u;
    }
    var lambda = shared_ext(0u);
    var prefix = shared_ext(1u);
    var r0 = E_ZERO;
    var r1 = E_ZERO;
    var layer = params.layer;
    var first = params.first;
    var vars = params.vars;
    var width = 2u;
    var k = 0u;
    var in_memory = params.slots > 0u;
    for (var step = 0u; step < steps; step++) {
        let more = step + 1u < steps;
        var observe = 12u;
        if phase == ROUND {
            if local < 3u {
                set_message_ext(local, round_value(local, k, width, point_at(layer) + first, prefix, r0));
            }
        } else if phase == START {
            observe = 20u;
            if local < 5u {
                // q of the root, then p and q of its two children
                let node = 1u + ((local + 1u) >> 1u);
                set_message_ext(local, select(heap_q[node], heap_p[node], vec4<bool>((local & 1u) == 1u)));
            }
        } else {
            observe = 16u;
            if local < 4u {
                set_message_ext(local, claim(local, lambda));
            }
        }
        // behind the last layer there is no other to batch
        let batched = phase != ROUND && layer + 1u < params.levels;
        duplex_step(local, observe, select(4u, 8u, batched));
        let challenge = sampled_ext(0u);
        if phase == ROUND {
            let xi = shared_ext(point_at(layer) + first + k);
            let both = e_mul(xi, challenge);
            prefix = e_mul(prefix, e_add(e_sub(e_sub(E_ONE, xi), challenge), e_double(both)));
            if local == 0u {
                share_ext(point_at(layer + 1u) + 1u + first + k, challenge);
            }
            if k == 0u {
                r0 = challenge;
            } else {
                r1 = challenge;
            }
            k += 1u;
            if k == width && !window {
                k = 0u;
                first += width;
                vars -= width;
                if in_memory {
                    in_memory = false;
                    load_folded(local, vars, r0, r1, lambda);
                    fill_suffix_eq(local, layer);
                } else {
                    fold_table(local, vars, width, r0, r1);
                }
                if vars == 0u {
                    phase = CLAIMS;
                }
            }
        } else {
            if local == 0u {
                share_ext(point_at(layer + 1u), challenge);
            }
            if batched {
                lambda = sampled_ext(1u);
            }
            if more {
                layer += 1u;
                vars = layer;
                first = 0u;
                prefix = E_ONE;
                phase = ROUND;
                load_level(local, vars, lambda);
                workgroupBarrier();
                fill_suffix_eq(local, layer);
            }
        }
        // a window is used up
        if k == 0u && more {
            workgroupBarrier();
            if phase == ROUND {
                width = 2u - (vars & 1u);
                window_sums(local, vars, width);
                reduce_sums(local);
            }
        }
    }
    duplex_close(local);
    if local == 0u {
        // the next layer starts with an empty product
        share_ext(0u, lambda);
        share_ext(1u, select(E_ONE, prefix, vec4<bool>(phase == ROUND)));
        share_ext(2u, r0);
        share_ext(3u, r1);
    }
    workgroupBarrier();
    if local < STATE {
        state[local] = shared_ext(local);
    }
}
