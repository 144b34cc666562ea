// Roots of unity from a table of two levels, and as the factors of a block. A kernel that imports this declares `roots: array<u32>`
// (kernels::ntt::roots).
#import ntt/block

/// w^e for the root w of order 2^27 (its inverse with INVERSE) and e < 2^27, from a table of two levels.
fn root(exponent: u32) -> u32 {
#if INVERSE
    let e = (0u - exponent) & 0x7ffffffu;
#else
    let e = exponent;
#endif
    return f_mul(roots[e & 0x3fffu], roots[0x4000u + (e >> 14u)]);
}

/// 1, h, .., h^15.
fn block_powers(h: u32) -> Block {
    let h2 = f_mul(h, h);
    let h4 = f_mul(h2, h2);
    let a = vec4<u32>(F_ONE, h, h2, f_mul(h, h2));
    let b = v_scale(a, h4);
    let c = v_scale(b, h4);
    return Block(a, b, c, v_scale(c, h4));
}

fn v_root(e: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(root(e.x), root(e.y), root(e.z), root(e.w));
}

/// w^(u (exponent + g step)) in the slots (u, g).
fn block_roots(log_radix: u32, exponent: u32, step: u32) -> Block {
    if log_radix == 4u {
        return block_powers(root(exponent));
    }
    let shift = 4u - log_radix;
    let s = vec4<u32>(0u, 1u, 2u, 3u);
    let base = vec4<u32>(exponent) + (s & vec4<u32>((1u << shift) - 1u)) * step;
    // above two bits, g has bits of the vector's number
    let high = select(0u, 4u * step, log_radix < 2u);
    return Block(
        v_root((s >> vec4<u32>(shift)) * base),
        v_root(((s + 4u) >> vec4<u32>(shift)) * (base + high)),
        v_root(((s + 8u) >> vec4<u32>(shift)) * base),
        v_root(((s + 12u) >> vec4<u32>(shift)) * (base + high)),
    );
}
