// Values of a thread that evaluates one row of a base-field tile by generated code.
//
// One row, not four as the interpreter: instructions of straight-line code are fetched once for all warps of a multiprocessor, so
// short code and many threads are what counts. Values are canonical but for what `lazy_add` and `lazy_sub` give (below 2 p), which
// the generator (constraints/wgsl.rs) uses only as one factor of a product. Sums in the extension are kept as 64-bit sums of products
// and reduced once, at the end; `fold` makes room. Without 64-bit integers everything is canonical at all times.
// The frame declares `tile`, `weights` and `params.columns`; rows of a tile lie in blocks of 64 (rap/tile_at.wgsl).
#import field/ext

alias Value = u32;

/// Threads of a workgroup.
const ROWS: u32 = 256u;

/// Where this thread's row of column 0 lies; column c is 64 c words further.
var<private> row_at: u32;

fn choose_row(row: u32) {
    row_at = (row >> 6u) * params.columns * 64u + (row & 63u);
}

fn column(c: u32) -> Value {
    return tile[row_at + c * 64u];
}

fn lift(word: u32) -> Value {
    return word;
}

fn v_add(a: Value, b: Value) -> Value {
    return f_add(a, b);
}

fn v_sub(a: Value, b: Value) -> Value {
    return f_sub(a, b);
}

fn v_neg(a: Value) -> Value {
    return f_neg(a);
}

fn v_mul(a: Value, b: Value) -> Value {
    return f_mul(a, b);
}

fn v_scale(a: Value, word: u32) -> Value {
    return f_mul(a, word);
}

#if INT64
fn lazy_add(a: Value, b: Value) -> Value {
    return a + b;
}

fn lazy_sub(a: Value, b: Value) -> Value {
    return a - b + P;
}

/// Coefficient by coefficient a sum of products, 2^32 times what it stands for.
var<private> acc0: array<u64, 4>;
var<private> acc1: array<u64, 4>;

/// p^2 < 0.22 * 2^64: behind a fold, which leaves less than p * 2^32 < 0.47 * 2^64, two products of canonical values fit, or one with a
/// lazy factor.
fn fold(x: u64) -> u64 {
    let high = u32(x >> 32u);
    return (u64(min(high, high - P)) << 32u) | (x & 0xfffffffflu);
}

fn accumulate0(k: u32, a: Value) {
    let w = weights[k];
    let v = u64(a);
    acc0[0] += v * u64(w.x);
    acc0[1] += v * u64(w.y);
    acc0[2] += v * u64(w.z);
    acc0[3] += v * u64(w.w);
}

fn accumulate1(k: u32, a: Value) {
    let w = weights[k];
    let v = u64(a);
    acc1[0] += v * u64(w.x);
    acc1[1] += v * u64(w.y);
    acc1[2] += v * u64(w.z);
    acc1[3] += v * u64(w.w);
}

fn fold0() {
    acc0[0] = fold(acc0[0]);
    acc0[1] = fold(acc0[1]);
    acc0[2] = fold(acc0[2]);
    acc0[3] = fold(acc0[3]);
}

fn fold1() {
    acc1[0] = fold(acc1[0]);
    acc1[1] = fold(acc1[1]);
    acc1[2] = fold(acc1[2]);
    acc1[3] = fold(acc1[3]);
}

fn sum0() -> Ext {
    return vec4<u32>(f_reduce4(acc0[0]), f_reduce4(acc0[1]), f_reduce4(acc0[2]), f_reduce4(acc0[3]));
}

fn sum1() -> Ext {
    return vec4<u32>(f_reduce4(acc1[0]), f_reduce4(acc1[1]), f_reduce4(acc1[2]), f_reduce4(acc1[3]));
}

fn clear1() {
    acc1 = array<u64, 4>();
}
#else
fn lazy_add(a: Value, b: Value) -> Value {
    return f_add(a, b);
}

fn lazy_sub(a: Value, b: Value) -> Value {
    return f_sub(a, b);
}

var<private> acc0: Ext;
var<private> acc1: Ext;

fn accumulate0(k: u32, a: Value) {
    acc0 = e_add(acc0, e_scale(weights[k], a));
}

fn accumulate1(k: u32, a: Value) {
    acc1 = e_add(acc1, e_scale(weights[k], a));
}

fn fold0() {}

fn fold1() {}

fn sum0() -> Ext {
    return acc0;
}

fn sum1() -> Ext {
    return acc1;
}

fn clear1() {
    acc1 = E_ZERO;
}
#endif
