// The quartic extension F[X] / (X^4 - 11): vec4(c0, c1, c2, c3) stands for c0 + c1 X + c2 X^2 + c3 X^3, as p3 stores it.
#import field/baby_bear

alias Ext = vec4<u32>;

const E_ZERO = vec4<u32>(0u, 0u, 0u, 0u);
const E_ONE = vec4<u32>(F_ONE, 0u, 0u, 0u);
/// 11 in Montgomery form.
const F_W: u32 = 0x37ffffe9u;

fn e_add(a: Ext, b: Ext) -> Ext {
    let s = a + b;
    return min(s, s - vec4<u32>(P));
}

fn e_sub(a: Ext, b: Ext) -> Ext {
    let d = a - b;
    return min(d, d + vec4<u32>(P));
}

fn e_neg(a: Ext) -> Ext {
    return e_sub(E_ZERO, a);
}

fn e_double(a: Ext) -> Ext {
    return e_add(a, a);
}

fn e_from_base(a: u32) -> Ext {
    return vec4<u32>(a, 0u, 0u, 0u);
}

/// Product with an element of the base field.
fn e_scale(a: Ext, b: u32) -> Ext {
    return vec4<u32>(f_mul(a.x, b), f_mul(a.y, b), f_mul(a.z, b), f_mul(a.w, b));
}

#if INT64
fn e_mul(a: Ext, b: Ext) -> Ext {
    let w1 = u64(f_mul(b.y, F_W));
    let w2 = u64(f_mul(b.z, F_W));
    let w3 = u64(f_mul(b.w, F_W));
    let a0 = u64(a.x);
    let a1 = u64(a.y);
    let a2 = u64(a.z);
    let a3 = u64(a.w);
    let b0 = u64(b.x);
    let b1 = u64(b.y);
    let b2 = u64(b.z);
    let b3 = u64(b.w);
    return vec4<u32>(
        f_reduce4(a0 * b0 + a1 * w3 + a2 * w2 + a3 * w1),
        f_reduce4(a0 * b1 + a1 * b0 + a2 * w3 + a3 * w2),
        f_reduce4(a0 * b2 + a1 * b1 + a2 * b0 + a3 * w3),
        f_reduce4(a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0),
    );
}
#else
fn e_mul(a: Ext, b: Ext) -> Ext {
    let w1 = f_mul(b.y, F_W);
    let w2 = f_mul(b.z, F_W);
    let w3 = f_mul(b.w, F_W);
    return vec4<u32>(
        f_add(f_add(f_mul(a.x, b.x), f_mul(a.y, w3)), f_add(f_mul(a.z, w2), f_mul(a.w, w1))),
        f_add(f_add(f_mul(a.x, b.y), f_mul(a.y, b.x)), f_add(f_mul(a.z, w3), f_mul(a.w, w2))),
        f_add(f_add(f_mul(a.x, b.z), f_mul(a.y, b.y)), f_add(f_mul(a.z, b.x), f_mul(a.w, w3))),
        f_add(f_add(f_mul(a.x, b.w), f_mul(a.y, b.z)), f_add(f_mul(a.z, b.y), f_mul(a.w, b.x))),
    );
}
#endif

fn e_square(a: Ext) -> Ext {
    return e_mul(a, a);
}

/// lo + r (hi - lo): the multilinear fold of one pair.
fn e_fold(lo: Ext, hi: Ext, r: Ext) -> Ext {
    return e_add(lo, e_mul(e_sub(hi, lo), r));
}

/// The inverse by the norm down to the base field; 0 for 0.
/// With a = u(Y) + X v(Y), Y = X^2: 1/a = (u - X v) / (u^2 - Y v^2), and likewise once more over Y^2 = 11.
fn e_inverse(a: Ext) -> Ext {
    let w = F_W;
    // n = u^2 - Y v^2 in F[Y]/(Y^2 - 11), u = (a.x, a.z), v = (a.y, a.w)
    let n0 = f_sub(f_add(f_square(a.x), f_mul(w, f_square(a.z))), f_mul(w, f_double(f_mul(a.y, a.w))));
    let n1 = f_sub(f_double(f_mul(a.x, a.z)), f_add(f_square(a.y), f_mul(w, f_square(a.w))));
    let d = f_inverse(f_sub(f_square(n0), f_mul(w, f_square(n1))));
    let m0 = f_mul(n0, d);
    let m1 = f_neg(f_mul(n1, d));
    // (u - X v) * (m0 + m1 Y)
    return vec4<u32>(
        f_add(f_mul(a.x, m0), f_mul(w, f_mul(a.z, m1))),
        f_neg(f_add(f_mul(a.y, m0), f_mul(w, f_mul(a.w, m1)))),
        f_add(f_mul(a.x, m1), f_mul(a.z, m0)),
        f_neg(f_add(f_mul(a.y, m1), f_mul(a.w, m0))),
    );
}
