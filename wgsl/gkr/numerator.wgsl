// Numerators of source fractions, of the base field with BASE_NUMERATORS. A kernel that imports this binds `source_p`, an array of
// `Numerator`.
#import field/ext

#if BASE_NUMERATORS
alias Numerator = u32;
#else
alias Numerator = vec4<u32>;
#endif

fn numerator(i: u32) -> Ext {
#if BASE_NUMERATORS
    return e_from_base(source_p[i]);
#else
    return source_p[i];
#endif
}
