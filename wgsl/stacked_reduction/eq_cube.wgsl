// eq(x, r[1..1+n]) for points x of the hypercube of any dimension n, from two small tables.
//
// `eq_tables` holds two heaps (eq/heaps.wgsl, of prefixes): entry 2^m + x of the first is eq(x, r[1..1+m]) for m <= low_bits, entry
// 2^m + x of the second, which begins at 2 << low_bits, is eq(x, r[1+low_bits..1+low_bits+m]).
// A kernel that imports this declares `eq_tables: array<vec4<u32>>`.
#import field/ext

fn eq_low(bits: u32, x: u32) -> Ext {
    return eq_tables[(1u << bits) + x];
}

fn eq_high(bits: u32, x: u32, low_bits: u32) -> Ext {
    return eq_tables[(2u << low_bits) + (1u << bits) + x];
}

fn eq_cube(n: u32, x: u32, low_bits: u32) -> Ext {
    if n <= low_bits {
        return eq_low(n, x);
    }
    let low = eq_low(low_bits, x & ((1u << low_bits) - 1u));
    return e_mul(low, eq_high(n - low_bits, x >> low_bits, low_bits));
}
