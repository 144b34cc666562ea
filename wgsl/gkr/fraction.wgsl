// Fractions p/q in projective form and their sum, which does not divide: p/q + p'/q' = (p q' + p' q) / (q q').
#import field/ext

struct Fraction {
    p: Ext,
    q: Ext,
}

fn fraction_sum(a: Fraction, b: Fraction) -> Fraction {
    return Fraction(e_add(e_mul(a.p, b.q), e_mul(b.p, a.q)), e_mul(a.q, b.q));
}

/// (1 - r) a + r b, numerators and denominators apart.
fn fraction_fold(a: Fraction, b: Fraction, r: Ext) -> Fraction {
    return Fraction(e_fold(a.p, b.p, r), e_fold(a.q, b.q, r));
}
