// BabyBear: p = 15 * 2^27 + 1, elements in Montgomery form with R = 2^32, as p3's `BabyBear` holds them.
//
// Every function takes and returns canonical representatives in [0, p). The product has two forms (one per device, both
// tested): through u64 where shaders have 64-bit integers, else four 16-bit products and a reduction that uses the form of p.

const P: u32 = 0x78000001u;
/// 1 in Montgomery form: 2^32 mod p.
const F_ONE: u32 = 0x0ffffffeu;
/// R^2 mod p, for `f_from_u32`.
const F_R2: u32 = 0x45dddde3u;

fn f_add(a: u32, b: u32) -> u32 {
    let s = a + b;
    return min(s, s - P);
}

fn f_sub(a: u32, b: u32) -> u32 {
    let d = a - b;
    return min(d, d + P);
}

fn f_neg(a: u32) -> u32 {
    return f_sub(0u, a);
}

fn f_double(a: u32) -> u32 {
    return f_add(a, a);
}

/// a / 2.
fn f_halve(a: u32) -> u32 {
    return (a >> 1u) + (a & 1u) * 0x3c000001u;
}

#if INT64
/// Montgomery reduction of x < p * 2^32: x / 2^32 mod p, subtractive so that one `min` finishes.
fn f_reduce(x: u64) -> u32 {
    let t = u32(x) * 0x88000001u;
    let u = u32((u64(t) * u64(P)) >> 32u);
    let r = u32(x >> 32u) - u;
    return min(r, r + P);
}

fn f_mul(a: u32, b: u32) -> u32 {
    return f_reduce(u64(a) * u64(b));
}

/// A representative of a b in (0, p + a b / 2^32): two instructions less than [`f_mul`].
fn f_mul_lazy(a: u32, b: u32) -> u32 {
    let x = u64(a) * u64(b);
    let t = u32(x) * 0x88000001u;
    return u32(x >> 32u) + P - u32((u64(t) * u64(P)) >> 32u);
}
/// Montgomery reduction of a sum of four products: x < 4 p^2 < p * 2^33.
fn f_reduce4(x: u64) -> u32 {
    let high = u32(x >> 32u);
    let t = u32(x) * 0x88000001u;
    let u = u32((u64(t) * u64(P)) >> 32u);
    let r = min(high, high - P) - u;
    return min(r, r + P);
}

/// a.x b.x + a.y b.y + a.z b.z + a.w b.w.
fn f_dot4(a: vec4<u32>, b: vec4<u32>) -> u32 {
    return f_reduce4(u64(a.x) * u64(b.x) + u64(a.y) * u64(b.y) + u64(a.z) * u64(b.z) + u64(a.w) * u64(b.w));
}
#else
/// The 64-bit product of a, b < 2^31 as (low, high).
fn f_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a0 * b1 + a1 * b0; // both factors below 2^31: no overflow
    return vec2<u32>(low + (middle << 16u), a1 * b1 + ((middle + (low >> 16u)) >> 16u));
}

/// Montgomery reduction of low + 2^32 * high, below p * 2^32. The quotient's digits (27 and 5 bits) come from
/// p = 15 * 2^27 + 1, so no further wide product is needed.
fn f_reduce(low: u32, high: u32) -> u32 {
    let q0 = low & 0x7ffffffu;
    let w = i32(low >> 27u) - i32(q0 * 15u);
    let q1 = u32(w) & 31u;
    let r = high + u32(w >> 5u) - q1 * 0x3c00000u;
    return min(r, r + P);
}

fn f_mul(a: u32, b: u32) -> u32 {
    let x = f_wide(a, b);
    return f_reduce(x.x, x.y);
}

/// As [`f_mul`]: the 16-bit products have no room for more.
fn f_mul_lazy(a: u32, b: u32) -> u32 {
    return f_mul(a, b);
}

fn f_dot4(a: vec4<u32>, b: vec4<u32>) -> u32 {
    return f_add(f_add(f_mul(a.x, b.x), f_mul(a.y, b.y)), f_add(f_mul(a.z, b.z), f_mul(a.w, b.w)));
}
#endif

fn f_square(a: u32) -> u32 {
    return f_mul(a, a);
}

/// The Montgomery form of an integer x < p.
fn f_from_u32(x: u32) -> u32 {
    return f_mul(x, F_R2);
}

/// The integer in [0, p) that a stands for.
fn f_to_u32(a: u32) -> u32 {
    return f_mul(a, 1u);
}

/// a^e by squaring.
fn f_pow(a: u32, e: u32) -> u32 {
    var result = F_ONE;
    var base = a;
    for (var k = e; k != 0u; k >>= 1u) {
        if (k & 1u) != 0u {
            result = f_mul(result, base);
        }
        base = f_square(base);
    }
    return result;
}

/// a^(p - 2): the inverse, 0 for 0.
fn f_inverse(a: u32) -> u32 {
    return f_pow(a, P - 2u);
}

/// a / 2^k for k <= 27. Since 1 / 2^k = -(p - 1) / 2^k mod p and p - 1 = 15 * 2^27, no multiplication in the field is needed.
fn f_div_2exp(a: u32, k: u32) -> u32 {
    let low = a & ((1u << k) - 1u);
    return f_sub(a >> k, (low * 15u) << (27u - k));
}
