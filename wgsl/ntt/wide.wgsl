// A pass over ten bits of a long DFT, N = 2^log_n, of many columns of base field elements: one workgroup has 1,024 rows by 8 words.
//
// Let `src` hold for every residue j modulo N / l the DFT of length l over the indices j, j + N / l, .., value k of it (of a column padded
// with zeros in the first pass, where these DFTs are copies of the coefficients). The pass computes from j = r M + m, r < 1024, m < M:
//     dst(m, k + l q) = sum_r w_1024^(r q) w_(1024 l)^(r k) src(r M + m, k).
// With `fold`, l was l / 2 and r one bit longer before: src(j, k) stands for src(j, k mod l / 2) + w_l^k src(j + 1024 M, k mod l / 2).
//
// `first`: k is the workgroup's, its columns are words m in a row, and the results are stored so that the last pass reads its tile from
// consecutive memory: [kb][m / 8][ki][m % 8] with kb = (k + l q) / 8 and ki a rotation of (k + l q) % 8 that keeps the workgroup's q together.
// The last pass (M = 1) takes consecutive k and stores k + l q in natural order, or with `inverse` at N - k - l q and divided by N. With
// `natural` it reads what ntt/pass.wgsl stores: [r][k].
//
// 256 threads, 32 values each: rows r = 32 u + v, DFT of length 32 over u in registers, an exchange through workgroup memory, DFT of length 32
// over v. Roots come from `twiddles`: w_1024^(v q) as [v][q], then w_(32 l)^(k u) as [k][u]; w_(1024 l)^(v k), one a thread, from `roots`.
// Bytes moved: 8 a word and pass, runs of at least 8 words; `fold` reads twice as much, of which half comes from the cache.
// Host reference: p3_dft::Radix2DitParallel.
#import grid
#import ntt/block32
#import ntt/roots

struct Params {
    log_n: u32,
    log_l: u32,
    log_m: u32,
    log_first_l: u32,
    fold: u32,
    first: u32,
    natural: u32,
    inverse: u32,
}

@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@group(0) @binding(2) var<storage, read> roots: array<u32>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> exchange: array<u32, 8192>;

/// Where a thread's values lie: slot s at `start + s step`; the second half of a fold `fold_step` further.
struct Strided {
    start: u32,
    step: u32,
    fold_step: u32,
}

fn load4(at: u32, step: u32) -> vec4<u32> {
    return vec4<u32>(src[at], src[at + step], src[at + 2u * step], src[at + 3u * step]);
}

fn load32(at: u32, step: u32) -> Block32 {
    return Block32(
        load4(at, step),
        load4(at + 4u * step, step),
        load4(at + 8u * step, step),
        load4(at + 12u * step, step),
        load4(at + 16u * step, step),
        load4(at + 20u * step, step),
        load4(at + 24u * step, step),
        load4(at + 28u * step, step),
    );
}

fn folded4(x: vec4<u32>, at: u32, step: u32, factor: u32) -> vec4<u32> {
    return v_add(x, v_scale(load4(at, step), factor));
}

fn folded32(x: Block32, at: u32, step: u32, factor: u32) -> Block32 {
    return Block32(
        folded4(x.a, at, step, factor),
        folded4(x.b, at + 4u * step, step, factor),
        folded4(x.c, at + 8u * step, step, factor),
        folded4(x.d, at + 12u * step, step, factor),
        folded4(x.e, at + 16u * step, step, factor),
        folded4(x.f, at + 20u * step, step, factor),
        folded4(x.g, at + 24u * step, step, factor),
        folded4(x.h, at + 28u * step, step, factor),
    );
}

/// Eight vectors of the table of roots.
fn twiddles32(at: u32) -> Block32 {
    return Block32(
        twiddles[at],
        twiddles[at + 1u],
        twiddles[at + 2u],
        twiddles[at + 3u],
        twiddles[at + 4u],
        twiddles[at + 5u],
        twiddles[at + 6u],
        twiddles[at + 7u],
    );
}

/// Value q of thread (v, t) at 256 q + 8 v + t, bits 3 and 4 of that changed by the low bits of q against bank conflicts.
fn put4(at: u32, lanes: vec4<u32>, x: vec4<u32>) {
    exchange[at + lanes.x] = x.x;
    exchange[at + 256u + lanes.y] = x.y;
    exchange[at + 512u + lanes.z] = x.z;
    exchange[at + 768u + lanes.w] = x.w;
}

fn put32(thread: u32, x: Block32) {
    let lanes = vec4<u32>(thread) ^ vec4<u32>(0u, 8u, 16u, 24u);
    put4(0u, lanes, x.a);
    put4(1024u, lanes, x.b);
    put4(2048u, lanes, x.c);
    put4(3072u, lanes, x.d);
    put4(4096u, lanes, x.e);
    put4(5120u, lanes, x.f);
    put4(6144u, lanes, x.g);
    put4(7168u, lanes, x.h);
}

fn get4(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(exchange[at.x], exchange[at.y], exchange[at.z], exchange[at.w]);
}

/// Thread (q, t) gets the values of all v.
fn get32(thread: u32) -> Block32 {
    let q = thread >> 3u;
    let lanes = (vec4<u32>(0u, 8u, 16u, 24u) ^ vec4<u32>((q & 3u) << 3u)) + ((q << 8u) | (thread & 7u));
    return Block32(
        get4(lanes),
        get4(lanes + 32u),
        get4(lanes + 64u),
        get4(lanes + 96u),
        get4(lanes + 128u),
        get4(lanes + 160u),
        get4(lanes + 192u),
        get4(lanes + 224u),
    );
}

/// The place of (k + l q) % 8 among eight: its bits from the first pass's l lead.
fn rotated(i: u32) -> u32 {
    let low = min(params.log_first_l, 3u);
    return ((i & ((1u << low) - 1u)) << (3u - low)) | (i >> low);
}

fn store4(at: u32, step: u32, x: vec4<u32>) {
    dst[at] = x.x;
    dst[at + step] = x.y;
    dst[at + 2u * step] = x.z;
    dst[at + 3u * step] = x.w;
}

fn store32(at: u32, step: u32, x: Block32) {
    store4(at, step, x.a);
    store4(at + 4u * step, step, x.b);
    store4(at + 8u * step, step, x.c);
    store4(at + 12u * step, step, x.d);
    store4(at + 16u * step, step, x.e);
    store4(at + 20u * step, step, x.f);
    store4(at + 24u * step, step, x.g);
    store4(at + 28u * step, step, x.h);
}

fn store4_reversed(column: u32, k: u32, step: u32, x: vec4<u32>) {
    let at = (vec4<u32>(0u - k) - vec4<u32>(0u, 1u, 2u, 3u) * step) & vec4<u32>((1u << params.log_n) - 1u);
    let y = v_div_2exp(x, params.log_n);
    dst[column + at.x] = y.x;
    dst[column + at.y] = y.y;
    dst[column + at.z] = y.z;
    dst[column + at.w] = y.w;
}

fn store32_reversed(column: u32, k: u32, step: u32, x: Block32) {
    store4_reversed(column, k, step, x.a);
    store4_reversed(column, k + 4u * step, step, x.b);
    store4_reversed(column, k + 8u * step, step, x.c);
    store4_reversed(column, k + 12u * step, step, x.d);
    store4_reversed(column, k + 16u * step, step, x.e);
    store4_reversed(column, k + 20u * step, step, x.f);
    store4_reversed(column, k + 24u * step, step, x.g);
    store4_reversed(column, k + 28u * step, step, x.h);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let t = thread & 7u;
    // v of the rows 32 u + v before the exchange, q % 32 behind it
    let v = thread >> 3u;
    let first = params.first != 0u;
    let log_l = params.log_l;
    let log_m = params.log_m;
    var k = workgroup & ((1u << log_l) - 1u);
    var column: u32;
    var tile = 0u;
    var source: Strided;
    if first {
        tile = (workgroup >> log_l) & ((1u << (log_m - 3u)) - 1u);
        column = workgroup >> (log_l + log_m - 3u);
        source.start = (column << (10u + log_m + params.fold)) + (v << log_m) + (tile << 3u) + t;
        source.step = 32u << log_m;
        source.fold_step = 1024u << log_m;
    } else {
        let block = workgroup & ((1u << (log_l - 3u)) - 1u);
        column = workgroup >> (log_l - 3u);
        k = (block << 3u) + t;
        let from_block = block & ((1u << (log_l - 3u - params.fold)) - 1u);
        source.start = (column << params.log_n) + (from_block << (13u + params.fold)) + ((v >> 3u) << 6u) + (rotated(t) << 3u) + (v & 7u);
        source.step = 256u;
        source.fold_step = 8192u;
        if params.natural != 0u {
            source.start = (column << params.log_n) + (v << log_l) + k;
            source.step = 32u << log_l;
        }
    }

    var x = load32(source.start, source.step);
    if params.fold != 0u {
        x = folded32(x, source.start + source.fold_step, source.step, root(k << (27u - log_l)));
    }
    let untwisted = first && k == 0u;
    if !untwisted {
        x = block32_mul(x, twiddles32(256u + (k << 3u)));
    }
    x = dft32_lazy(x);
    if !untwisted {
        x = block32_scale_lazy(x, root((v * k) << (17u - log_l)));
    }
    x = block32_mul(x, twiddles32(v << 3u));
    put32(thread, x);
    workgroupBarrier();
    x = dft32(get32(thread));

    let column_start = column << params.log_n;
    if first {
        // q = v + 32 s in slot s
        let at = k + (v << log_l);
        let block = ((at >> 3u) << (3u + log_m)) + (tile << 6u) + (rotated(at & 7u) << 3u) + t;
        store32(column_start + block, 32u << (log_l + log_m), x);
    } else if params.inverse != 0u {
        store32_reversed(column_start, k + (v << log_l), 32u << log_l, x);
    } else {
        store32(column_start + k + (v << log_l), 32u << log_l, x);
    }
}
