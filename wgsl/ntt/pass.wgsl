// One pass of a DFT of length N = 2^log_n over many columns: 2^log_r of the butterfly stages, Stockham order.
//
// Before a pass with L = 2^log_l, `src` holds for every residue m of the input index modulo M R (M R = N / L, R = 2^log_r) the DFT of
// length L over j = m, m + M R, ..: value k at m L + k. The pass computes, for m2 < M, k < L, q < R,
//     dst[m2 L R + q L + k] = sum_{m1 < R} w_R^(m1 q) w_{L R}^(m1 k) src[(m1 M + m2) L + k],
// so the passes together read and write natural order and no bit reversal is needed. Columns are 2^log_in long in `src` (zeros above,
// first pass only). Elements are 2^log_ext words; the words of an extension element are transformed side by side.
// `inverse` (last pass only) makes it the inverse DFT: index k goes to N - k, all divided by N.
//
// A workgroup of 256 threads takes R rows m1 (N / R apart) by 2^12 / R consecutive words x = m2 L + k (of several columns where those are
// shorter), sixteen values a thread: radix 16 over the high bits of m1 in registers, an exchange through workgroup memory, radix R / 16
// over the low bits. The powers of the roots are the same in every column, so they are computed once for `repeat` columns.
// Bytes moved: 8 a word and pass; runs of at least 16 words. Host reference: p3_dft::Radix2DitParallel.
#import grid
#import ntt/roots

struct Params {
    log_n: u32,
    log_in: u32,
    log_ext: u32,
    log_l: u32,
    log_r: u32,
    columns: u32,
    repeat: u32,
    inverse: u32,
}

@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@group(0) @binding(2) var<storage, read> roots: array<u32>;
var<immediate> params: Params;

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

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let log_b = params.log_r - 4u;
    let log_tile = 12u - params.log_r;
    let tile_mask = (1u << log_tile) - 1u;
    // words x of one column, and of an element row of the first L
    let log_inner = params.log_n + params.log_ext - params.log_r;
    let log_lw = params.log_l + params.log_ext;
    let lw_mask = (1u << log_lw) - 1u;
    let log_tiles = max(log_inner, log_tile) - log_tile;
    let log_wide = max(log_inner, log_tile) - log_inner;

    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let tile_start = (workgroup & ((1u << log_tiles) - 1u)) << log_tile;
    let first_column = ((workgroup >> log_tiles) * params.repeat) << log_wide;

    // radix 16 over the high bits of m1 = u R/16 + v: this thread has (v, t)
    let t_a = thread & tile_mask;
    let v_a = thread >> log_tile;
    let x_a = tile_start + t_a;
    let column_a = x_a >> log_inner;
    let offset_a = (v_a << log_inner) + (x_a & ((1u << log_inner) - 1u));
    let slots_a = block_slots(4u, 1u << (log_b + log_inner), 0u);
    let in_words = 1u << (params.log_in + params.log_ext);
    let twiddled = params.log_l > 0u;
    var roots_a: Block;
    if twiddled {
        roots_a = block_powers(root(((x_a & lw_mask) >> params.log_ext) << (23u - params.log_l)));
    }

    // radix R/16 over v: this thread has (q1, t) and those that follow by g. Consecutive threads write consecutive words: over t,
    // or, where rows of L words are shorter than the tile, over k, q1 and m2
    let grouped = log_lw < min(log_tile, 5u);
    var t_b = thread & tile_mask;
    var q_b = thread >> log_tile;
    var pad = 16u;
    if grouped {
        t_b = (thread & lw_mask) | ((thread >> (log_lw + 4u)) << log_lw);
        q_b = (thread >> log_lw) & 15u;
        pad = max(1u << log_lw, 2u);
    }
    let pitch = 256u + pad;
    let slots_put = block_slots(4u, pitch, 0u);
    let slots_get = block_slots(log_b, 1u << log_tile, select(pitch << log_b, 16u, grouped));
    let get_at = q_b * pitch + t_b;
    let x_b = tile_start + t_b;
    let exponent = (((x_b & lw_mask) >> params.log_ext) + (q_b << params.log_l)) << (27u - params.log_l - params.log_r);
    let roots_b = block_roots(log_b, exponent, select(1u << 23u, 0u, grouped));
    let slots_out = block_slots(log_b, 16u << log_lw, select(1u << (log_lw + log_b), 16u << params.log_r, grouped));
    let slots_x = block_slots(log_b, 0u, select(0u, 16u, grouped));
    let end = params.columns << log_inner;

    for (var i = 0u; i < params.repeat; i++) {
        let first = first_column + (i << log_wide);
        if first >= params.columns {
            break;
        }
        let column = first + column_a;
        let start = column * in_words;
        let limit = select(0u, in_words, column < params.columns);
        var x = Block(
            load4(start, offset_a + slots_a.lane, limit),
            load4(start, offset_a + slots_a.lane + slots_a.w2, limit),
            load4(start, offset_a + slots_a.lane + slots_a.w3, limit),
            load4(start, offset_a + slots_a.lane + (slots_a.w2 + slots_a.w3), limit),
        );
        if twiddled {
            x = block_mul(x, roots_a);
        }
        x = dft16(x);
        put4(thread + slots_put.lane, x.a);
        put4(thread + slots_put.lane + slots_put.w2, x.b);
        put4(thread + slots_put.lane + slots_put.w3, x.c);
        put4(thread + slots_put.lane + (slots_put.w2 + slots_put.w3), x.d);
        workgroupBarrier();
        x = Block(
            get4(get_at + slots_get.lane),
            get4(get_at + slots_get.lane + slots_get.w2),
            get4(get_at + slots_get.lane + slots_get.w3),
            get4(get_at + slots_get.lane + (slots_get.w2 + slots_get.w3)),
        );
        workgroupBarrier();
        if log_b > 0u {
            x = block_dft(block_mul(x, roots_b), log_b);
        }
        let xg = (first << log_inner) + x_b;
        let out = ((xg >> log_lw) << (log_lw + params.log_r)) + (q_b << log_lw) + (xg & lw_mask);
        store4(out + slots_out.lane, x.a, xg + slots_x.lane, end);
        store4(out + slots_out.lane + slots_out.w2, x.b, xg + slots_x.lane + slots_x.w2, end);
        store4(out + slots_out.lane + slots_out.w3, x.c, xg + slots_x.lane + slots_x.w3, end);
        let both = slots_out.w2 + slots_out.w3;
        store4(out + slots_out.lane + both, x.d, xg + slots_x.lane + (slots_x.w2 + slots_x.w3), end);
    }
}
