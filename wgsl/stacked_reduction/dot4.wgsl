// Dot products of extension weights with base values, four terms per reduction.
#import field/ext

#if INT64
/// w0 v.x + w1 v.y + w2 v.z + w3 v.w: sixteen wide products, four reductions.
fn e_dot4(w0: Ext, w1: Ext, w2: Ext, w3: Ext, v: vec4<u32>) -> Ext {
    let v0 = u64(v.x);
    let v1 = u64(v.y);
    let v2 = u64(v.z);
    let v3 = u64(v.w);
    return vec4<u32>(
        f_reduce4(u64(w0.x) * v0 + u64(w1.x) * v1 + u64(w2.x) * v2 + u64(w3.x) * v3),
        f_reduce4(u64(w0.y) * v0 + u64(w1.y) * v1 + u64(w2.y) * v2 + u64(w3.y) * v3),
        f_reduce4(u64(w0.z) * v0 + u64(w1.z) * v1 + u64(w2.z) * v2 + u64(w3.z) * v3),
        f_reduce4(u64(w0.w) * v0 + u64(w1.w) * v1 + u64(w2.w) * v2 + u64(w3.w) * v3),
    );
}
#else
fn e_dot4(w0: Ext, w1: Ext, w2: Ext, w3: Ext, v: vec4<u32>) -> Ext {
    return e_add(e_add(e_scale(w0, v.x), e_scale(w1, v.y)), e_add(e_scale(w2, v.z), e_scale(w3, v.w)));
}
#endif
