// Transforms of 32 values in the registers of one thread.
//
// Slot s = 0..31 is component s % 4 of vector s / 4; input u is in slot u, output q in slot q. DFT of length 8 across the vectors (u / 4), the
// roots w_32^(q u), DFT of length 4 across the components.
//
// *Lazy* values are below 2 p and only factors of products, which reduce them. Without 64-bit integers they are canonical.
#import ntt/block

struct Block32 {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    e: vec4<u32>,
    f: vec4<u32>,
    g: vec4<u32>,
    h: vec4<u32>,
}

// W32_q: w_32^(q l) for components l; W8: w_8^k for k = 0..3. As integers with their quotients floor(2^32 w / p), or in Montgomery form.
#if INT64
const W32_1 = vec4<u32>(0x00000001u, 0x2d4cc4dau, 0x0bb4c4e4u, 0x49f2f32bu);
const W32_2 = vec4<u32>(0x00000001u, 0x0bb4c4e4u, 0x5ee99486u, 0x04b49e08u);
const W32_3 = vec4<u32>(0x00000001u, 0x49f2f32bu, 0x04b49e08u, 0x3501cd6eu);
const W32_4 = vec4<u32>(0x00000001u, 0x5ee99486u, 0x67055c21u, 0x0c9ea3bau);
const W32_5 = vec4<u32>(0x00000001u, 0x0a92c240u, 0x5376917au, 0x2c1c3348u);
const W32_6 = vec4<u32>(0x00000001u, 0x04b49e08u, 0x0c9ea3bau, 0x6c4b3b1du);
const W32_7 = vec4<u32>(0x00000001u, 0x5365f4e9u, 0x563112a7u, 0x6d6d3dc1u);
const W8 = vec4<u32>(0x00000001u, 0x5ee99486u, 0x67055c21u, 0x0c9ea3bau);
const W32_1_Q = vec4<u32>(0x00000002u, 0x60a3c614u, 0x18f91b7fu, 0x9dc206c0u);
const W32_2_Q = vec4<u32>(0x00000002u, 0x18f91b7fu, 0xca7ad671u, 0x0a09d9aau);
const W32_3_Q = vec4<u32>(0x00000002u, 0x9dc206c0u, 0x0a09d9aau, 0x7114e972u);
const W32_4_Q = vec4<u32>(0x00000002u, 0xca7ad671u, 0xdbc72aefu, 0x1aec07f2u);
const W32_5_Q = vec4<u32>(0x00000002u, 0x168e6b33u, 0xb20e0324u, 0x5e1a06ffu);
const W32_6_Q = vec4<u32>(0x00000002u, 0x0a09d9aau, 0x1aec07f2u, 0xe706e480u);
const W32_7_Q = vec4<u32>(0x00000002u, 0xb1ea9300u, 0xb7e027c9u, 0xe97194ccu);
const W8_Q = vec4<u32>(0x00000002u, 0xca7ad671u, 0xdbc72aefu, 0x1aec07f2u);
#else
const W32_1 = vec4<u32>(0x0ffffffeu, 0x3f5c39ecu, 0x5f06e481u, 0x623df940u);
const W32_2 = vec4<u32>(0x0ffffffeu, 0x5f06e481u, 0x3d85298fu, 0x45f62656u);
const W32_3 = vec4<u32>(0x0ffffffeu, 0x623df940u, 0x45f62656u, 0x1eeb168eu);
const W32_4 = vec4<u32>(0x0ffffffeu, 0x3d85298fu, 0x1c38d511u, 0x7513f80eu);
const W32_5 = vec4<u32>(0x0ffffffeu, 0x017194cdu, 0x6df1fcdcu, 0x19e5f901u);
const W32_6 = vec4<u32>(0x0ffffffeu, 0x45f62656u, 0x7513f80eu, 0x18f91b80u);
const W32_7 = vec4<u32>(0x0ffffffeu, 0x4e156d00u, 0x101fd837u, 0x768e6b34u);
const W8 = vec4<u32>(0x0ffffffeu, 0x3d85298fu, 0x1c38d511u, 0x7513f80eu);
const W32_1_Q = vec4<u32>();
const W32_2_Q = vec4<u32>();
const W32_3_Q = vec4<u32>();
const W32_4_Q = vec4<u32>();
const W32_5_Q = vec4<u32>();
const W32_6_Q = vec4<u32>();
const W32_7_Q = vec4<u32>();
const W8_Q = vec4<u32>();
#endif

#if INT64
/// a w mod p for a constant w with its quotient: q = floor(a w / p) is at most one too small, for every 32-bit a.
fn f_mul_const(a: u32, w: u32, quotient: u32) -> u32 {
    let q = u32((u64(a) * u64(quotient)) >> 32u);
    let r = a * w - q * P;
    return min(r, r - P);
}

/// a b lazily, of a < 2^32.
fn f_mul_lazy(a: u32, b: u32) -> u32 {
    let x = u64(a) * u64(b);
    let t = u32(x) * 0x88000001u;
    return u32(x >> 32u) - u32((u64(t) * u64(P)) >> 32u) + P;
}

fn v_add_lazy(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a + b;
}

fn v_sub_lazy(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a - b + vec4<u32>(P);
}
#else
fn f_mul_const(a: u32, w: u32, quotient: u32) -> u32 {
    return f_mul(a, w);
}

fn f_mul_lazy(a: u32, b: u32) -> u32 {
    return f_mul(a, b);
}

fn v_add_lazy(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return v_add(a, b);
}

fn v_sub_lazy(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return v_sub(a, b);
}
#endif

fn v_scale_const(a: vec4<u32>, w: u32, quotient: u32) -> vec4<u32> {
    return vec4<u32>(
        f_mul_const(a.x, w, quotient),
        f_mul_const(a.y, w, quotient),
        f_mul_const(a.z, w, quotient),
        f_mul_const(a.w, w, quotient),
    );
}

fn v_scale_lazy(a: vec4<u32>, b: u32) -> vec4<u32> {
    return vec4<u32>(f_mul_lazy(a.x, b), f_mul_lazy(a.y, b), f_mul_lazy(a.z, b), f_mul_lazy(a.w, b));
}

/// Canonical values of lazy ones.
fn v_reduce(a: vec4<u32>) -> vec4<u32> {
    return min(a, a - vec4<u32>(P));
}

/// Times constants of which the first is 1.
fn v_roots(a: vec4<u32>, w: vec4<u32>, quotient: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        min(a.x, a.x - P),
        f_mul_const(a.y, w.y, quotient.y),
        f_mul_const(a.z, w.z, quotient.z),
        f_mul_const(a.w, w.w, quotient.w),
    );
}

/// DFT of length 4 across the vectors, with lazy results.
fn dft4_lazy(x: Block) -> Block {
    let t0 = v_add(x.a, x.c);
    let t1 = v_sub(x.a, x.c);
    let t2 = v_add(x.b, x.d);
    let t3 = v_scale_const(v_sub_lazy(x.b, x.d), W8.z, W8_Q.z);
    return Block(v_add_lazy(t0, t2), v_add_lazy(t1, t3), v_sub_lazy(t0, t2), v_sub_lazy(t1, t3));
}

/// DFT of length 4 across the vectors, as `dft4` but with a constant's product.
fn dft4_const(x: Block) -> Block {
    let t0 = v_add(x.a, x.c);
    let t1 = v_sub(x.a, x.c);
    let t2 = v_add(x.b, x.d);
    let t3 = v_scale_const(v_sub_lazy(x.b, x.d), W8.z, W8_Q.z);
    return Block(v_add(t0, t2), v_add(t1, t3), v_sub(t0, t2), v_sub(t1, t3));
}

/// w_8^(q u) transforms across the vectors, times w_32^(q l), for q = 0..3 (l: component), then for q = 4..7; across, so that the
/// vectors of the results count l and the components q.
struct Halves {
    low: Block,
    high: Block,
}

fn transposed(x: Block) -> Block {
    return Block(
        vec4<u32>(x.a.x, x.b.x, x.c.x, x.d.x),
        vec4<u32>(x.a.y, x.b.y, x.c.y, x.d.y),
        vec4<u32>(x.a.z, x.b.z, x.c.z, x.d.z),
        vec4<u32>(x.a.w, x.b.w, x.c.w, x.d.w),
    );
}

fn dft8_across(x: Block32) -> Halves {
    let even = dft4_lazy(Block(v_add(x.a, x.e), v_add(x.b, x.f), v_add(x.c, x.g), v_add(x.d, x.h)));
    let odd = dft4_lazy(Block(
        v_sub(x.a, x.e),
        v_scale_const(v_sub_lazy(x.b, x.f), W8.y, W8_Q.y),
        v_scale_const(v_sub_lazy(x.c, x.g), W8.z, W8_Q.z),
        v_scale_const(v_sub_lazy(x.d, x.h), W8.w, W8_Q.w),
    ));
    return Halves(
        transposed(Block(
            v_reduce(even.a),
            v_roots(odd.a, W32_1, W32_1_Q),
            v_roots(even.b, W32_2, W32_2_Q),
            v_roots(odd.b, W32_3, W32_3_Q),
        )),
        transposed(Block(
            v_roots(even.c, W32_4, W32_4_Q),
            v_roots(odd.c, W32_5, W32_5_Q),
            v_roots(even.d, W32_6, W32_6_Q),
            v_roots(odd.d, W32_7, W32_7_Q),
        )),
    );
}

/// DFT of length 32 with lazy results.
fn dft32_lazy(x: Block32) -> Block32 {
    let y = dft8_across(x);
    let low = dft4_lazy(y.low);
    let high = dft4_lazy(y.high);
    return Block32(low.a, high.a, low.b, high.b, low.c, high.c, low.d, high.d);
}

/// DFT of length 32.
fn dft32(x: Block32) -> Block32 {
    let y = dft8_across(x);
    let low = dft4_const(y.low);
    let high = dft4_const(y.high);
    return Block32(low.a, high.a, low.b, high.b, low.c, high.c, low.d, high.d);
}

fn block32_mul(x: Block32, y: Block32) -> Block32 {
    return Block32(
        v_mul(x.a, y.a),
        v_mul(x.b, y.b),
        v_mul(x.c, y.c),
        v_mul(x.d, y.d),
        v_mul(x.e, y.e),
        v_mul(x.f, y.f),
        v_mul(x.g, y.g),
        v_mul(x.h, y.h),
    );
}

fn block32_scale_lazy(x: Block32, y: u32) -> Block32 {
    return Block32(
        v_scale_lazy(x.a, y),
        v_scale_lazy(x.b, y),
        v_scale_lazy(x.c, y),
        v_scale_lazy(x.d, y),
        v_scale_lazy(x.e, y),
        v_scale_lazy(x.f, y),
        v_scale_lazy(x.g, y),
        v_scale_lazy(x.h, y),
    );
}
