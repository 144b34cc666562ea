// One pass of a DFT of length N = 2^log_n over many columns: 2^log_r of the butterfly stages, Stockham order.
//
// Before a pass with L = 2^log_l, `src` holds for every residue m of the input index modulo M R (M R = N / L, R = 2^log_r) the DFT of
// length L over j = m, m + M R, ..: value k at m L + k. The pass computes, for m2 < M, k < L, q < R,
//     dst[m2 L R + q L + k] = sum_{m1 < R} w_R^(m1 q) w_{L R}^(m1 k) src[(m1 M + m2) L + k],
// so the passes together read and write natural order and no bit reversal is needed. Columns are 2^log_in long in `src` (zeros above,
// first pass only). Elements are 2^log_ext words; the words of an extension element are transformed side by side.
// `inverse` (last pass only) makes it the inverse DFT: index k goes to N - k, all divided by N.
//
// A workgroup of 256 threads takes R rows m1 = u R / 16 + v (N / R apart) by 2^12 / R consecutive words x = m2 L + k (of several columns where
// those are shorter), sixteen values a thread. q = q1 + 16 q2:
//   high digit: radix 16 over u in registers, u becomes q1; a thread has one (v, x);
//   exchange through workgroup memory;
//   low digit:  radix R / 16 over v, v becomes q2; a thread has one (q1, x), and 256 / R of those.
// The powers of the roots are the same in every column, so they are computed once for `repeat` columns.
// Bytes moved: 8 a word and pass; runs of at least 16 words. Host reference: p3_dft::Radix2DitParallel.
#import grid
#import ntt/roots

#interface

/// Sixteen rows of 256 values, padded against bank conflicts.
var<workgroup> exchange: array<u32, 4352>;

fn load1(start: u32, offset: u32, end: u32) -> u32 {
    if offset < end {
        return src[start + offset];
    }
    return 0u;
}

fn load4(start: u32, offset: vec4<u32>, end: u32) -> vec4<u32> {
    return vec4<u32>(
        load1(start, offset.x, end),
        load1(start, offset.y, end),
        load1(start, offset.z, end),
        load1(start, offset.w, end),
    );
}

fn put4(at: vec4<u32>, x: vec4<u32>) {
    exchange[at.x] = x.x;
    exchange[at.y] = x.y;
    exchange[at.z] = x.z;
    exchange[at.w] = x.w;
}

fn get4(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(exchange[at.x], exchange[at.y], exchange[at.z], exchange[at.w]);
}

/// The place of -k for the place of k, within a column.
fn reversed(at: vec4<u32>) -> vec4<u32> {
    let column_mask = (1u << (params.log_n + params.log_ext)) - 1u;
    let coordinate = at & vec4<u32>((1u << params.log_ext) - 1u);
    let k = at & vec4<u32>(column_mask);
    return (at - k) | ((coordinate - k) & vec4<u32>(column_mask)) | coordinate;
}

/// Values past the last column are dropped: `x` is their place among all columns' words x.
fn store4(place: vec4<u32>, value: vec4<u32>, x: vec4<u32>, end: u32) {
    var at = place;
    var y = value;
    if params.inverse != 0u {
        at = reversed(at);
        y = v_div_2exp(y, params.log_n);
    }
    if x.x < end {
        dst[at.x] = y.x;
    }
    if x.y < end {
        dst[at.y] = y.y;
    }
    if x.z < end {
        dst[at.z] = y.z;
    }
    if x.w < end {
        dst[at.w] = y.w;
    }
}

/// log2 of the low digit's radix.
fn log_b() -> u32 {
    return params.log_r - 4u;
}

/// log2 of a tile's words x.
fn log_tile() -> u32 {
    return 12u - params.log_r;
}

/// log2 of the words x of one column.
fn log_inner() -> u32 {
    return params.log_n + params.log_ext - params.log_r;
}

/// log2 of the words of the first L elements.
fn log_lw() -> u32 {
    return params.log_l + params.log_ext;
}

/// The k of word x.
fn k_of(x: u32) -> u32 {
    return (x & ((1u << log_lw()) - 1u)) >> params.log_ext;
}

/// What a thread has for the high digit: (v, x).
struct HighDigit {
    /// The column among those of the tile, and the place of u = 0 in it.
    column: u32,
    offset: u32,
    slots: Slots,
    /// w_{L R}^(m1 k) without v's part; there are none in the first pass.
    roots: Block,
}

fn high_digit(local: u32, tile_start: u32) -> HighDigit {
    let x = tile_start + (local & ((1u << log_tile()) - 1u));
    let offset = ((local >> log_tile()) << log_inner()) + (x & ((1u << log_inner()) - 1u));
    var roots: Block;
    if params.log_l > 0u {
        roots = block_powers(root(k_of(x) << (23u - params.log_l)));
    }
    return HighDigit(x >> log_inner(), offset, block_slots(4u, 1u << (log_b() + log_inner()), 0u), roots);
}

/// What a thread has for the low digit: (q1, x) and those that follow by g.
struct LowDigit {
    x: u32,
    q1: u32,
    /// Where the exchange takes the high digit's values, by u, and gives the low one's, by v and g.
    slots_put: Slots,
    get_at: u32,
    slots_get: Slots,
    roots: Block,
    /// By q2 and g: places in `dst`, and words x.
    slots_out: Slots,
    slots_x: Slots,
}

/// Consecutive threads write consecutive words: over x, or, where rows of L words are shorter than the tile (`grouped`), over k, q1 and m2.
fn low_digit(local: u32, tile_start: u32) -> LowDigit {
    let lw_mask = (1u << log_lw()) - 1u;
    let grouped = log_lw() < min(log_tile(), 5u);
    var t = local & ((1u << log_tile()) - 1u);
    var q1 = local >> log_tile();
    var pad = 16u;
    if grouped {
        t = (local & lw_mask) | ((local >> (log_lw() + 4u)) << log_lw());
        q1 = (local >> log_lw()) & 15u;
        pad = max(1u << log_lw(), 2u);
    }
    let pitch = 256u + pad;
    let x = tile_start + t;
    let exponent = (k_of(x) + (q1 << params.log_l)) << (27u - params.log_l - params.log_r);
    return LowDigit(
        x,
        q1,
        block_slots(4u, pitch, 0u),
        q1 * pitch + t,
        block_slots(log_b(), 1u << log_tile(), select(pitch << log_b(), 16u, grouped)),
        block_roots(log_b(), exponent, select(1u << 23u, 0u, grouped)),
        block_slots(log_b(), 16u << log_lw(), select(1u << (log_lw() + log_b()), 16u << params.log_r, grouped)),
        block_slots(log_b(), 0u, select(0u, 16u, grouped)),
    );
}

/// The high digit's values of a column from `start` on; zeros from `limit` on.
fn load_high(start: u32, limit: u32, digit: HighDigit) -> Block {
    let at = digit.offset + digit.slots.low;
    let s = digit.slots;
    return Block(
        load4(start, at, limit),
        load4(start, at + s.w2, limit),
        load4(start, at + s.w3, limit),
        load4(start, at + (s.w2 + s.w3), limit),
    );
}

fn exchange_digits(local: u32, digit: LowDigit, x: Block) -> Block {
    let to = local + digit.slots_put.low;
    put4(to, x.a);
    put4(to + digit.slots_put.w2, x.b);
    put4(to + digit.slots_put.w3, x.c);
    put4(to + (digit.slots_put.w2 + digit.slots_put.w3), x.d);
    workgroupBarrier();
    let at = digit.get_at + digit.slots_get.low;
    let y = Block(
        get4(at),
        get4(at + digit.slots_get.w2),
        get4(at + digit.slots_get.w3),
        get4(at + (digit.slots_get.w2 + digit.slots_get.w3)),
    );
    workgroupBarrier();
    return y;
}

/// The results, for the columns from `first` on.
fn store_low(first: u32, digit: LowDigit, y: Block) {
    let end = params.columns << log_inner();
    let x = (first << log_inner()) + digit.x;
    let row = (x >> log_lw()) << (log_lw() + params.log_r);
    let at = row + (digit.q1 << log_lw()) + (x & ((1u << log_lw()) - 1u)) + digit.slots_out.low;
    let out = digit.slots_out;
    let words = digit.slots_x;
    store4(at, y.a, x + words.low, end);
    store4(at + out.w2, y.b, x + words.low + words.w2, end);
    store4(at + out.w3, y.c, x + words.low + words.w3, end);
    store4(at + (out.w2 + out.w3), y.d, x + words.low + (words.w2 + words.w3), end);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // tiles of a column, or columns of a tile
    let log_tiles = max(log_inner(), log_tile()) - log_tile();
    let log_columns = max(log_inner(), log_tile()) - log_inner();
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let tile_start = (workgroup & ((1u << log_tiles) - 1u)) << log_tile();
    let first_column = ((workgroup >> log_tiles) * params.repeat) << log_columns;
    let high = high_digit(local, tile_start);
    let low = low_digit(local, tile_start);
    let in_words = 1u << (params.log_in + params.log_ext);
    for (var i = 0u; i < params.repeat; i++) {
        let first = first_column + (i << log_columns);
        if first >= params.columns {
            break;
        }
        let column = first + high.column;
        var x = load_high(column * in_words, select(0u, in_words, column < params.columns), high);
        if params.log_l > 0u {
            x = block_mul(x, high.roots);
        }
        x = exchange_digits(local, low, dft16(x));
        if log_b() > 0u {
            x = block_dft(block_mul(x, low.roots), log_b());
        }
        store_low(first, low, x);
    }
}
