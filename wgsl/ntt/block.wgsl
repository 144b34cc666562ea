// Transforms of sixteen values in the registers of one thread, the unit that all NTT kernels work in.
//
// A block has slots s = 0..15 (slot s is component s % 4 of vector s / 4). For radix 2^r it holds 2^(4-r) independent vectors: their
// index u is in the high r bits of s, the number g of the vector in the low bits. Steps keep that order, so output q sits where input
// u = q was. With INVERSE the roots are the inverse ones (no division by the length).
#import field/baby_bear

struct Block {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

/// Where the slots of a block lie: slot s at `low[s % 4]` plus `w2` and `w3` for bits 2 and 3 of s.
struct Slots {
    low: vec4<u32>,
    w2: u32,
    w3: u32,
}

// w_16^(i k) for k = 0..3 and i = 1, 2, 3
#if INVERSE
const W16_1 = vec4<u32>(0x0ffffffeu, 0x67e027cau, 0x02ec07f3u, 0x0a0e0325u);
const W16_2 = vec4<u32>(0x0ffffffeu, 0x02ec07f3u, 0x5bc72af0u, 0x3a7ad672u);
const W16_3 = vec4<u32>(0x0ffffffeu, 0x0a0e0325u, 0x3a7ad672u, 0x101fd837u);
#else
const W16_1 = vec4<u32>(0x0ffffffeu, 0x5f06e481u, 0x3d85298fu, 0x45f62656u);
const W16_2 = vec4<u32>(0x0ffffffeu, 0x3d85298fu, 0x1c38d511u, 0x7513f80eu);
const W16_3 = vec4<u32>(0x0ffffffeu, 0x45f62656u, 0x7513f80eu, 0x18f91b80u);
#endif

fn v_add(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let s = a + b;
    return min(s, s - vec4<u32>(P));
}

fn v_sub(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let d = a - b;
    return min(d, d + vec4<u32>(P));
}

fn v_mul(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(f_mul(a.x, b.x), f_mul(a.y, b.y), f_mul(a.z, b.z), f_mul(a.w, b.w));
}

fn v_scale(a: vec4<u32>, b: u32) -> vec4<u32> {
    return vec4<u32>(f_mul(a.x, b), f_mul(a.y, b), f_mul(a.z, b), f_mul(a.w, b));
}

fn block_mul(x: Block, y: Block) -> Block {
    return Block(v_mul(x.a, y.a), v_mul(x.b, y.b), v_mul(x.c, y.c), v_mul(x.d, y.d));
}

fn block_div_2exp(x: Block, k: u32) -> Block {
    return Block(v_div_2exp(x.a, k), v_div_2exp(x.b, k), v_div_2exp(x.c, k), v_div_2exp(x.d, k));
}

fn v_div_2exp(x: vec4<u32>, k: u32) -> vec4<u32> {
    return vec4<u32>(f_div_2exp(x.x, k), f_div_2exp(x.y, k), f_div_2exp(x.z, k), f_div_2exp(x.w, k));
}

/// Slots with distance `u_step` between the values of one vector and `g_step` between vectors.
fn block_slots(log_radix: u32, u_step: u32, g_step: u32) -> Slots {
    let w3 = select(g_step << 3u, u_step << (max(log_radix, 1u) - 1u), log_radix >= 1u);
    let w2 = select(g_step << 2u, u_step << (max(log_radix, 2u) - 2u), log_radix >= 2u);
    let w1 = select(g_step << 1u, u_step << (max(log_radix, 3u) - 3u), log_radix >= 3u);
    let w0 = select(g_step, u_step, log_radix == 4u);
    return Slots(vec4<u32>(0u, w0, w1, w0 + w1), w2, w3);
}

/// DFT of length 4 across the vectors.
fn dft4(x: Block) -> Block {
    let t0 = v_add(x.a, x.c);
    let t1 = v_sub(x.a, x.c);
    let t2 = v_add(x.b, x.d);
    let t3 = v_scale(v_sub(x.b, x.d), W16_2.z);
    return Block(v_add(t0, t2), v_add(t1, t3), v_sub(t0, t2), v_sub(t1, t3));
}

fn dft16(x: Block) -> Block {
    let y = dft4(x);
    let b = v_mul(y.b, W16_1);
    let c = v_mul(y.c, W16_2);
    let d = v_mul(y.d, W16_3);
    return dft4(Block(
        vec4<u32>(y.a.x, b.x, c.x, d.x),
        vec4<u32>(y.a.y, b.y, c.y, d.y),
        vec4<u32>(y.a.z, b.z, c.z, d.z),
        vec4<u32>(y.a.w, b.w, c.w, d.w),
    ));
}

fn dft8(x: Block) -> Block {
    let y = dft4(x);
    let hi01 = v_mul(vec4<u32>(y.a.zw, y.b.zw), vec4<u32>(W16_2.xx, W16_2.yy));
    let hi23 = v_mul(vec4<u32>(y.c.zw, y.d.zw), vec4<u32>(W16_2.zz, W16_2.ww));
    let lo01 = vec4<u32>(y.a.xy, y.b.xy);
    let lo23 = vec4<u32>(y.c.xy, y.d.xy);
    return Block(v_add(lo01, hi01), v_add(lo23, hi23), v_sub(lo01, hi01), v_sub(lo23, hi23));
}

/// DFT of length 2^log_radix of each vector of the block.
fn block_dft(x: Block, log_radix: u32) -> Block {
    if log_radix == 4u {
        return dft16(x);
    }
    if log_radix == 3u {
        return dft8(x);
    }
    if log_radix == 2u {
        return dft4(x);
    }
    if log_radix == 1u {
        return Block(v_add(x.a, x.c), v_add(x.b, x.d), v_sub(x.a, x.c), v_sub(x.b, x.d));
    }
    return x;
}

/// Adds to every value those whose index is the same but for one bit less: sums over subsets of the bits of u.
fn block_zeta(x: Block, log_radix: u32) -> Block {
    var y = x;
    if log_radix >= 1u {
        y.c = v_add(y.c, y.a);
        y.d = v_add(y.d, y.b);
    }
    if log_radix >= 2u {
        y.b = v_add(y.b, y.a);
        y.d = v_add(y.d, y.c);
    }
    if log_radix >= 3u {
        let h0 = v_add(vec4<u32>(y.a.zw, y.b.zw), vec4<u32>(y.a.xy, y.b.xy));
        let h1 = v_add(vec4<u32>(y.c.zw, y.d.zw), vec4<u32>(y.c.xy, y.d.xy));
        y = Block(
            vec4<u32>(y.a.xy, h0.xy),
            vec4<u32>(y.b.xy, h0.zw),
            vec4<u32>(y.c.xy, h1.xy),
            vec4<u32>(y.d.xy, h1.zw),
        );
    }
    if log_radix == 4u {
        let h0 = v_add(vec4<u32>(y.a.yw, y.b.yw), vec4<u32>(y.a.xz, y.b.xz));
        let h1 = v_add(vec4<u32>(y.c.yw, y.d.yw), vec4<u32>(y.c.xz, y.d.xz));
        y = Block(
            vec4<u32>(y.a.x, h0.x, y.a.z, h0.y),
            vec4<u32>(y.b.x, h0.z, y.b.z, h0.w),
            vec4<u32>(y.c.x, h1.x, y.c.z, h1.y),
            vec4<u32>(y.d.x, h1.z, y.d.z, h1.w),
        );
    }
    return y;
}
