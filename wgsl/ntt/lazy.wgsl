// DFTs of lengths 8 and 16 in the registers of one thread with fewer reductions than those of ntt/block.wgsl, in the same order of slots.
//
// *Lazy* values are below 2^32 and only become factors of products, which reduce them. Without 64-bit integers they are canonical.
#import ntt/block

// w_16^(q l) for l = 0..3, w_8^k for k = 0..3: as integers with their quotients floor(2^32 w / p), or in Montgomery form.
#if INT64
const ROOTS16_1 = vec4<u32>(0x00000001u, 0x0bb4c4e4u, 0x5ee99486u, 0x04b49e08u);
const ROOTS16_2 = vec4<u32>(0x00000001u, 0x5ee99486u, 0x67055c21u, 0x0c9ea3bau);
const ROOTS16_3 = vec4<u32>(0x00000001u, 0x04b49e08u, 0x0c9ea3bau, 0x6c4b3b1du);
const ROOTS8 = vec4<u32>(0x00000001u, 0x5ee99486u, 0x67055c21u, 0x0c9ea3bau);
const ROOTS16_1_QUOTIENT = vec4<u32>(0x00000002u, 0x18f91b7fu, 0xca7ad671u, 0x0a09d9aau);
const ROOTS16_2_QUOTIENT = vec4<u32>(0x00000002u, 0xca7ad671u, 0xdbc72aefu, 0x1aec07f2u);
const ROOTS16_3_QUOTIENT = vec4<u32>(0x00000002u, 0x0a09d9aau, 0x1aec07f2u, 0xe706e480u);
const ROOTS8_QUOTIENT = vec4<u32>(0x00000002u, 0xca7ad671u, 0xdbc72aefu, 0x1aec07f2u);
#else
const ROOTS16_1 = vec4<u32>(0x0ffffffeu, 0x5f06e481u, 0x3d85298fu, 0x45f62656u);
const ROOTS16_2 = vec4<u32>(0x0ffffffeu, 0x3d85298fu, 0x1c38d511u, 0x7513f80eu);
const ROOTS16_3 = vec4<u32>(0x0ffffffeu, 0x45f62656u, 0x7513f80eu, 0x18f91b80u);
const ROOTS8 = vec4<u32>(0x0ffffffeu, 0x3d85298fu, 0x1c38d511u, 0x7513f80eu);
const ROOTS16_1_QUOTIENT = vec4<u32>();
const ROOTS16_2_QUOTIENT = vec4<u32>();
const ROOTS16_3_QUOTIENT = vec4<u32>();
const ROOTS8_QUOTIENT = vec4<u32>();
#endif

#if INT64
/// a w mod p for a constant w with its quotient: q = floor(a w / p) is at most one too small, for every 32-bit a.
fn f_mul_const(a: u32, w: u32, quotient: u32) -> u32 {
    let q = u32((u64(a) * u64(quotient)) >> 32u);
    let r = a * w - q * P;
    return min(r, r - P);
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
    let t3 = v_scale_const(v_sub_lazy(x.b, x.d), ROOTS8.z, ROOTS8_QUOTIENT.z);
    return Block(v_add_lazy(t0, t2), v_add_lazy(t1, t3), v_sub_lazy(t0, t2), v_sub_lazy(t1, t3));
}

/// DFT of length 16 with lazy results.
fn dft16_lazy(x: Block) -> Block {
    let y = dft4_lazy(x);
    let a = v_reduce(y.a);
    let b = v_roots(y.b, ROOTS16_1, ROOTS16_1_QUOTIENT);
    let c = v_roots(y.c, ROOTS16_2, ROOTS16_2_QUOTIENT);
    let d = v_roots(y.d, ROOTS16_3, ROOTS16_3_QUOTIENT);
    return dft4_lazy(Block(
        vec4<u32>(a.x, b.x, c.x, d.x),
        vec4<u32>(a.y, b.y, c.y, d.y),
        vec4<u32>(a.z, b.z, c.z, d.z),
        vec4<u32>(a.w, b.w, c.w, d.w),
    ));
}

fn roots8(a: vec2<u32>, w: u32, quotient: u32) -> vec2<u32> {
    return vec2<u32>(f_mul_const(a.x, w, quotient), f_mul_const(a.y, w, quotient));
}

/// Two DFTs of length 8 up to the last butterflies: those are a + c, b + d, a - c, b - d.
fn dft8_halves(x: Block) -> Block {
    let y = dft4_lazy(x);
    return Block(
        v_reduce(vec4<u32>(y.a.xy, y.b.xy)),
        v_reduce(vec4<u32>(y.c.xy, y.d.xy)),
        vec4<u32>(min(y.a.zw, y.a.zw - vec2<u32>(P)), roots8(y.b.zw, ROOTS8.y, ROOTS8_QUOTIENT.y)),
        vec4<u32>(roots8(y.c.zw, ROOTS8.z, ROOTS8_QUOTIENT.z), roots8(y.d.zw, ROOTS8.w, ROOTS8_QUOTIENT.w)),
    );
}

/// Two DFTs of length 8 with lazy results.
fn dft8_lazy(x: Block) -> Block {
    let y = dft8_halves(x);
    return Block(v_add_lazy(y.a, y.c), v_add_lazy(y.b, y.d), v_sub_lazy(y.a, y.c), v_sub_lazy(y.b, y.d));
}

/// Two DFTs of length 8 of canonical values.
fn dft8_const(x: Block) -> Block {
    let y = dft8_halves(x);
    return Block(v_add(y.a, y.c), v_add(y.b, y.d), v_sub(y.a, y.c), v_sub(y.b, y.d));
}
