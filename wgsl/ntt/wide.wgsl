// A pass over ten bits of a long DFT, N = 2^log_n, of many columns of base field elements: a workgroup has 1,024 rows by 8 words of a column.
//
// Let `src` hold for every residue j modulo N / l the DFT of length l = 2^log_l over the indices j, j + N / l, .., value k of it (in the first
// pass, where a column is padded with zeros, these DFTs are copies of the coefficients). The pass computes from j = r M + m, r < 1024, m < M:
//     dst(m, k + l q) = sum_r w_1024^(r q) w_(1024 l)^(r k) src(r M + m, k).
// FOLD: j has one bit more, and src(j, k) above stands for src(j, k mod l / 2) + w_l^k src(j + 1024 M, k mod l / 2).
//
// A pass stands at one of three places of a transform (PLACE, kernels::ntt::wide::WidePlace):
//   FIRST:        a workgroup has one k and 8 m in a row. It stores so that the last pass reads its tile from consecutive memory:
//                 [K / 8][m / 8][K'][m % 8], K = k + l q, with K' the place of K % 8 that keeps the workgroup's q together.
//   LAST:         reads that; M = 1, a workgroup has 8 k in a row, and dst is in natural order; `inverse`: K goes to N - K, all divided by N.
//   LAST_NATURAL: the same (with the flag NATURAL), but reads what ntt/pass.wgsl stores, [r][k], of any length. The other two are compiled
//                 for a length, since constant strides need no address arithmetic.
//
// 512 threads, 16 values each: rows r = 64 u + 8 v1 + v0, DFT of length 16 over u, of length 8 over v1, of length 8 over v0, with q = q1 + 16 q2 +
// 128 q3. t is the word among the eight. Between the transforms a digit that the slots of a thread's block hold and one that tells threads apart change places:
//
//                    number of the thread       block of the thread
//                   8 .. 6   5 .. 3   2 .. 0     3 .. 0 (slot)
//                  +--------+--------+--------+  +----------------+
//   load           |   v1   |   v0   |   t    |  |       u        |   DFT of 16, u becomes q1, times w_1024^(v q1) and what comes before
//                  +--------+--------+--------+  +----------------+
//   exchange_q1        ^------------------------------- q1 % 8         v1 goes to the slots
//                  +--------+--------+--------+  +----------------+
//                  | q1 % 8 |   v0   |   t    |  |  v1   | q1 / 8 |   DFT of 8, v1 becomes q2, times w_64^(v0 q2)
//                  +--------+--------+--------+  +----------------+
//   exchange_q2                 ^------------------ q2                 v0 goes to the slots
//                  +--------+--------+--------+  +----------------+
//   store          | q1 % 8 |   q2   |   t    |  |  v0   | q1 / 8 |   DFT of 8, v0 becomes q3
//                  +--------+--------+--------+  +----------------+
//
// The third exchange is through memory, from the pass that is FIRST, where t tells 8 m apart, to the one that is LAST, where t tells 8 K apart and m are the
// rows. A column between them, for M = 1024:
//
//   | m / 8 = 0 | m / 8 = 1 | ..  | m / 8 = 127 | m / 8 = 0 | ..                  | store: for every q runs of 8 m, which are of one K' each
//   |<--------------- K / 8 = 0 --------------->|<--------- K / 8 = 1 ---------- ..  load: a tile is one K / 8, 8,192 words
//      |
//      +-> 64 words: [K'][m % 8]
//
// A workgroup takes the same tile of up to `repeat` columns one after the other: the powers of roots stay in registers, and the next column's
// values are loaded while this one's are transformed.
// `twiddles`: w_1024^(v q1) as [v][q1], w_64^(v0 q2) as [v0][q2], w_(16 l)^(k u) as [k][u]; `roots` for w_(1024 l)^(v k).
// Bytes moved: 8 a word, runs of at least 8 words; FOLD reads twice as much, half of it cached. Products: 5.3 a word, 6.3 with FOLD.
// Host reference: p3_dft::Radix2DitParallel.
#import grid
#import ntt/lazy
#import ntt/roots

#interface

const FIRST: u32 = 0u;
const LAST: u32 = 1u;
const LAST_NATURAL: u32 = 2u;

#if NATURAL
const PLACE: u32 = LAST_NATURAL;
const FOLD = 0u;
const LOG_M = 3u;
const LOG_FIRST_L = 3u;
#else
override PLACE: u32;
override FOLD: u32;
override LOG_L: u32;
override LOG_M: u32;
/// log_l of the first pass.
override LOG_FIRST_L: u32;
#endif

/// 16 values q1 of 512 threads.
var<workgroup> exchange: array<u32, 8192>;

/// A thread's input in the current column: slot s at `start + s step`; the second half of a fold `fold_step` further.
struct Source {
    start: u32,
    step: u32,
    fold_step: u32,
}

struct Loaded {
    low: Block,
    high: Block,
}

fn load4(at: u32, step: u32) -> vec4<u32> {
    return vec4<u32>(src[at], src[at + step], src[at + 2u * step], src[at + 3u * step]);
}

fn load16(at: u32, step: u32) -> Block {
    return Block(
        load4(at, step),
        load4(at + 4u * step, step),
        load4(at + 8u * step, step),
        load4(at + 12u * step, step),
    );
}

fn load(source: Source) -> Loaded {
    var x: Loaded;
    x.low = load16(source.start, source.step);
    if FOLD != 0u {
        x.high = load16(source.start + source.fold_step, source.step);
    }
    return x;
}

fn folded(x: Loaded, factor: u32) -> Block {
    if FOLD == 0u {
        return x.low;
    }
    return Block(
        v_add(x.low.a, v_scale(x.high.a, factor)),
        v_add(x.low.b, v_scale(x.high.b, factor)),
        v_add(x.low.c, v_scale(x.high.c, factor)),
        v_add(x.low.d, v_scale(x.high.d, factor)),
    );
}

/// Four vectors of the table of roots.
fn twiddles16(at: u32) -> Block {
    return Block(twiddles[at], twiddles[at + 1u], twiddles[at + 2u], twiddles[at + 3u]);
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

/// From thread (v1, v0, t) with slots q1 to thread (q1 % 8, v0, t) with slots (v1, q1 / 8).
fn exchange_q1(local: u32, x: Block) -> Block {
    let put_at = vec4<u32>(0u, 512u, 1024u, 1536u) + local;
    put4(put_at, x.a);
    put4(put_at + 2048u, x.b);
    put4(put_at + 4096u, x.c);
    put4(put_at + 6144u, x.d);
    workgroupBarrier();
    let get_at = vec4<u32>(0u, 4096u, 64u, 4160u) + (((local >> 6u) << 9u) | (local & 63u));
    return Block(get4(get_at), get4(get_at + 128u), get4(get_at + 256u), get4(get_at + 384u));
}

/// From thread (q1 % 8, v0, t) with slots (q2, q1 / 8) to thread (q1 % 8, q2, t) with slots (v0, q1 / 8). Bits 3 and 4 of the place change with
/// q2 against bank conflicts.
fn exchange_q2(local: u32, x: Block) -> Block {
    let row = (local >> 6u) << 9u;
    let own = vec4<u32>(local & 63u) ^ vec4<u32>(0u, 8u, 16u, 24u);
    let put_even = vec4<u32>(0u, 4096u, 64u, 4160u) + own.xxyy + row;
    let put_odd = vec4<u32>(128u, 4224u, 192u, 4288u) + own.zzww + row;
    put4(put_even, x.a);
    put4(put_odd, x.b);
    put4(put_even + 256u, x.c);
    put4(put_odd + 256u, x.d);
    workgroupBarrier();
    let q2 = (local >> 3u) & 7u;
    let low = (vec4<u32>(0u, 0u, 8u, 8u) ^ vec4<u32>((q2 & 1u) << 3u)) + vec4<u32>(0u, 4096u, 0u, 4096u);
    let high = vec4<u32>(0u, 16u, 32u, 48u) ^ vec4<u32>((q2 & 2u) << 3u);
    let get_at = low + (row | (q2 << 6u) | (local & 7u));
    return Block(get4(get_at + high.x), get4(get_at + high.y), get4(get_at + high.z), get4(get_at + high.w));
}

/// The place of K % 8 among eight: its bits below the first pass's l lead.
fn place(k: u32) -> u32 {
    let low = min(LOG_FIRST_L, 3u);
    return ((k & ((1u << low) - 1u)) << (3u - low)) | (k >> low);
}

/// Slots (q3, q1 / 8): `step` between the q3, `other` to the second q1.
fn store4(at: u32, step: u32, other: u32, x: vec4<u32>) {
    dst[at] = x.x;
    dst[at + other] = x.y;
    dst[at + step] = x.z;
    dst[at + step + other] = x.w;
}

fn store4_inverse(column: u32, k: u32, log_l: u32, x: vec4<u32>) {
    let log_n = log_l + 10u;
    let at = (vec4<u32>(0u - k) - (vec4<u32>(0u, 8u, 128u, 136u) << vec4<u32>(log_l))) & vec4<u32>((1u << log_n) - 1u);
    let y = v_div_2exp(x, log_n);
    dst[column + at.x] = y.x;
    dst[column + at.y] = y.y;
    dst[column + at.z] = y.z;
    dst[column + at.w] = y.w;
}

fn log_l() -> u32 {
#if NATURAL
    return params.log_l;
#else
    return LOG_L;
#endif
}

/// log2 of a column's words after the pass.
fn log_n() -> u32 {
    return log_l() + 10u + select(0u, LOG_M, PLACE == FIRST);
}

/// What a workgroup has of each of its columns, as one thread sees it.
struct Tile {
    /// log2 of the tiles of a column.
    log_count: u32,
    /// log2 of a column's words before the pass.
    log_input: u32,
    /// The thread's k.
    k: u32,
    source: Source,
    /// Where the value of slot (0, 0) goes, and log2 of the distance of neighbouring q.
    target_at: u32,
    log_step: u32,
}

/// Its q of slot (0, 0), for (q1 % 8, q2, t).
fn first_q(local: u32) -> u32 {
    return (local >> 6u) + (((local >> 3u) & 7u) << 4u);
}

/// FIRST: blocks of 8 m for each k.
fn first_tile(workgroup: u32, local: u32) -> Tile {
    let t = local & 7u;
    let log_blocks = max(LOG_M, 3u) - 3u;
    let k = workgroup & ((1u << log_l()) - 1u);
    let block = (workgroup >> log_l()) & ((1u << log_blocks) - 1u);
    let source = Source(((local >> 3u) << LOG_M) + (block << 3u) + t, 64u << LOG_M, 1024u << LOG_M);
    let K = k + (first_q(local) << log_l());
    let target_at = ((K >> 3u) << (3u + LOG_M)) + (block << 6u) + (place(K & 7u) << 3u) + t;
    return Tile(log_blocks + log_l(), 10u + LOG_M + FOLD, k, source, target_at, log_l() + LOG_M);
}

/// LAST: blocks of 8 k, from what FIRST stores.
fn last_tile(workgroup: u32, local: u32) -> Tile {
    var tile = last_natural_tile(workgroup, local);
    let v = local >> 3u;
    // with FOLD, the values of k beyond l / 2 are those of k - l / 2
    let blocks = 1u << (tile.log_count - min(FOLD, tile.log_count));
    let block = workgroup & (blocks - 1u);
    let start = (block << (13u + FOLD)) + ((v >> 3u) << 6u) + (place(local & 7u) << 3u) + (v & 7u);
    tile.source = Source(start, 512u, 8192u);
    return tile;
}

/// LAST_NATURAL: blocks of 8 k, from natural order.
fn last_natural_tile(workgroup: u32, local: u32) -> Tile {
    let log_blocks = max(log_l(), 3u) - 3u;
    let k = ((workgroup & ((1u << log_blocks) - 1u)) << 3u) + (local & 7u);
    let source = Source(((local >> 3u) << log_l()) + k, 64u << log_l(), 0u);
    return Tile(log_blocks, log_l() + 10u, k, source, k + (first_q(local) << log_l()), log_l());
}

fn tile_of(workgroup: u32, local: u32) -> Tile {
    if PLACE == FIRST {
        return first_tile(workgroup, local);
    }
    if PLACE == LAST {
        return last_tile(workgroup, local);
    }
    return last_natural_tile(workgroup, local);
}

/// The factors of a thread's values, the same in every column.
struct Factors {
    /// w_l^k, of the second half of a fold.
    fold: u32,
    /// Before the DFTs over u, v1 and v0; those over u have none where k is 0 for the whole workgroup.
    twisted: bool,
    u: Block,
    v1: Block,
    v0: Block,
}

fn factors(k: u32, local: u32) -> Factors {
    let v = local >> 3u;
    let v0 = v & 7u;
    let twisted = PLACE != FIRST || k != 0u;
    var of_v1 = twiddles16(v << 2u);
    if twisted {
        let h = root((v * k) << (17u - log_l()));
        of_v1 = Block(v_scale(of_v1.a, h), v_scale(of_v1.b, h), v_scale(of_v1.c, h), v_scale(of_v1.d, h));
    }
    let low = twiddles[256u + 2u * v0];
    let high = twiddles[257u + 2u * v0];
    let of_v0 = Block(low.xxyy, low.zzww, high.xxyy, high.zzww);
    return Factors(root(k << (27u - log_l())), twisted, twiddles16(272u + (k << 2u)), of_v1, of_v0);
}

/// A column's values of this thread, transformed.
fn transform(local: u32, loaded: Loaded, f: Factors) -> Block {
    var x = folded(loaded, f.fold);
    if f.twisted {
        x = block_mul(x, f.u);
    }
    x = exchange_q1(local, block_mul(dft16_lazy(x), f.v1));
    x = block_mul(dft8_lazy(x), f.v0);
    workgroupBarrier();
    x = dft8_const(exchange_q2(local, x));
    workgroupBarrier();
    return x;
}

fn store(column: u32, tile: Tile, x: Block) {
    let start = column << log_n();
    if params.inverse != 0u {
        store4_inverse(start, tile.target_at, log_l(), x.a);
        store4_inverse(start, tile.target_at + (256u << log_l()), log_l(), x.b);
        store4_inverse(start, tile.target_at + (512u << log_l()), log_l(), x.c);
        store4_inverse(start, tile.target_at + (768u << log_l()), log_l(), x.d);
    } else {
        let at = start + tile.target_at;
        let step = 128u << tile.log_step;
        let other = 8u << tile.log_step;
        store4(at, step, other, x.a);
        store4(at + 2u * step, step, other, x.b);
        store4(at + 4u * step, step, other, x.c);
        store4(at + 6u * step, step, other, x.d);
    }
}

@compute @workgroup_size(512)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let tile = tile_of(workgroup, local);
    let f = factors(tile.k, local);
    var column = (workgroup >> tile.log_count) * params.repeat;
    let end = min(params.columns, column + params.repeat);
    var source = tile.source;
    source.start += column << tile.log_input;
    var next = load(source);
    for (; column < end; column++) {
        let loaded = next;
        if column + 1u < end {
            source.start += 1u << tile.log_input;
            next = load(source);
        }
        store(column, tile, transform(local, loaded, f));
    }
}
