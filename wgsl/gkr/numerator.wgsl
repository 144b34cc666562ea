// Numerators of source fractions, of the base field with BASE_NUMERATORS. A kernel that imports this declares `source_p`: array<u32> then,
// else array<vec4<u32>>.
#import field/ext

fn numerator(i: u32) -> Ext {
#if BASE_NUMERATORS
    return e_from_base(source_p[i]);
#else
    return source_p[i];
#endif
}
