//! The univariate polynomials of round 0, on the host: a few hundred coefficients per AIR, once a proof.

use openvm_stark_backend::{
    p3_matrix::dense::RowMajorMatrix,
    poly_common::{eq_uni_poly, UnivariatePoly},
    prover::{poly::eq_sharp_uni_poly, sumcheck::sumcheck_round0_deg},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

/// The polynomial of degree `< cosets * 2^l_skip` with the given values on `g^1 D, .., g^cosets D`, value `i` of coset `j` at
/// `j * 2^l_skip + i`. Coefficients; none for no cosets.
pub(super) fn interpolate_cosets(l_skip: usize, values: &[EF], cosets: usize) -> Vec<EF> {
    let n = 1 << l_skip;
    assert_eq!(values.len(), cosets * n, "values on {cosets} cosets");
    let rows = (0..n).flat_map(|i| (0..cosets).map(move |j| values[j * n + i])).collect();
    let matrix = RowMajorMatrix::new(rows, cosets.max(1));
    UnivariatePoly::from_geometric_cosets_evals_idft(matrix, F::GENERATOR, F::GENERATOR).into_coeffs()
}

/// The zerocheck's `s'_0`, which vanishes on D, from the values of `sum_x eq(xi, x) sum_k lambda^k C_k` on the cosets: interpolates its quotient
/// by the zerofier `Z^(2^l_skip) - 1` and multiplies back.
pub(super) fn zerocheck_poly(l_skip: usize, values: &[EF], cosets: usize) -> Vec<EF> {
    let n = 1 << l_skip;
    let shifts = F::GENERATOR.powers().skip(1).take(cosets);
    let inverses = shifts.map(|shift| (shift.exp_power_of_2(l_skip) - F::ONE).inverse());
    let quotients: Vec<EF> =
        values.chunks(n).zip(inverses).flat_map(|(coset, inverse)| coset.iter().map(move |v| *v * inverse)).collect();
    let quotient = interpolate_cosets(l_skip, &quotients, cosets);
    let mut product = vec![EF::ZERO; quotient.len() + n];
    for (i, q) in quotient.iter().enumerate() {
        product[i] -= *q;
        product[i + n] += *q;
    }
    product
}

/// `s'_0` of one AIR, coefficients; empty where it is zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Round0Polys {
    /// Numerator, normalised by the lift.
    pub numerator: Vec<EF>,
    /// Denominator without alpha.
    pub denominator: Vec<EF>,
    /// Constraints.
    pub zerocheck: Vec<EF>,
}

/// Products from which on threads are worth their waking, which takes 0.3 ms on a server.
const PARALLEL_PRODUCTS: usize = 1 << 15;

/// Round 0 before batching by mu.
pub(super) struct Round0Batch {
    /// `sum_D eq_sharp * numerator` per AIR.
    pub numerator_claims: Vec<EF>,
    /// `sum_D eq_sharp * denominator` per AIR.
    pub denominator_claims: Vec<EF>,
    /// The polynomials that powers of mu combine, one after the other: numerator and denominator of each AIR, then the zerocheck of each,
    /// with their factors `eq_sharp` and `eq_D(xi_0, .)`; `len` coefficients each.
    pub polys: Vec<EF>,
    /// Coefficients of a polynomial.
    pub len: usize,
}

impl Round0Batch {
    /// Multiplies the AIRs' polynomials by their eq factors and sums logup's over D.
    ///
    /// `degree` is the largest of constraints and interactions, `xi` the logup challenges from the univariate ones on.
    pub(super) fn new(l_skip: usize, degree: usize, xi: &[EF], airs: &[Round0Polys]) -> Self {
        let len = sumcheck_round0_deg(l_skip, degree + 1) + 1;
        let kept = sumcheck_round0_deg(l_skip, degree) + 1;
        let eq_sharp = eq_sharp_uni_poly(&xi[..l_skip]).into_coeffs();
        let eq = eq_uni_poly::<F, EF>(l_skip, xi[0]).into_coeffs();
        let logup = airs.iter().flat_map(|air| [(&air.numerator, &eq_sharp), (&air.denominator, &eq_sharp)]);
        let factors: Vec<_> = logup.chain(airs.iter().map(|air| (&air.zerocheck, &eq))).collect();
        let mut polys = vec![EF::ZERO; factors.len() * len];
        // what lies beyond `kept` is zero for a trace that satisfies its constraints
        let fill = |(product, (poly, eq)): (&mut [EF], &(&Vec<EF>, &Vec<EF>))| {
            multiply(&poly[..poly.len().min(kept)], eq, product);
        };
        if factors.len() * kept * eq.len() < PARALLEL_PRODUCTS {
            polys.chunks_mut(len).zip(&factors).for_each(fill);
        } else {
            polys.par_chunks_mut(len).zip(&factors).for_each(fill);
        }
        let claim = |poly: &[EF]| poly.iter().step_by(1 << l_skip).copied().sum::<EF>() * F::from_usize(1 << l_skip);
        let logup: Vec<EF> = polys.chunks(len).take(2 * airs.len()).map(claim).collect();
        let (numerator_claims, denominator_claims) = logup.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
        Self { numerator_claims, denominator_claims, polys, len }
    }
}

/// `product += a * b`.
fn multiply(a: &[EF], b: &[EF], product: &mut [EF]) {
    for (i, x) in a.iter().enumerate() {
        for (p, y) in product[i..].iter_mut().zip(b) {
            *p += *x * *y;
        }
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::poly_common::{eval_eq_sharp_uni, eval_eq_uni, horner_eval};
    use p3_field::{BasedVectorSpace, TwoAdicField};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;

    fn exts(rng: &mut StdRng, len: usize) -> Vec<EF> {
        (0..len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect()
    }

    /// Values on the cosets in the device's order.
    fn evaluate(l_skip: usize, coeffs: &[EF], cosets: usize) -> Vec<EF> {
        let domain: Vec<F> = F::two_adic_generator(l_skip).powers().take(1 << l_skip).collect();
        let shifts = F::GENERATOR.powers().skip(1).take(cosets);
        shifts.flat_map(|s| domain.iter().map(move |z| s * *z)).map(|z| horner_eval(coeffs, EF::from(z))).collect()
    }

    #[test]
    fn values_on_cosets_determine_polynomials() {
        let mut rng = StdRng::seed_from_u64(1);
        for (l_skip, cosets) in [(0, 1), (0, 3), (1, 2), (3, 1), (4, 3)] {
            let coeffs = exts(&mut rng, cosets << l_skip);
            let values = evaluate(l_skip, &coeffs, cosets);
            assert_eq!(interpolate_cosets(l_skip, &values, cosets), coeffs);
        }
        assert!(interpolate_cosets(2, &[], 0).is_empty());
        assert!(zerocheck_poly(2, &[], 0).iter().all(|c| *c == EF::ZERO));
    }

    #[test]
    fn polynomials_that_vanish_on_the_domain_come_back() {
        let mut rng = StdRng::seed_from_u64(2);
        for (l_skip, cosets) in [(0, 2), (1, 1), (3, 2)] {
            let n = 1 << l_skip;
            let quotient = exts(&mut rng, cosets * n);
            let mut poly = vec![EF::ZERO; (cosets + 1) * n];
            for (i, q) in quotient.iter().enumerate() {
                poly[i] -= *q;
                poly[i + n] += *q;
            }
            assert_eq!(zerocheck_poly(l_skip, &evaluate(l_skip, &poly, cosets), cosets), poly);
        }
    }

    #[test]
    fn claims_are_sums_over_the_domain() {
        let mut rng = StdRng::seed_from_u64(3);
        for (l_skip, degree) in [(0, 2), (2, 1), (3, 4)] {
            let (n, kept) = (1usize << l_skip, degree * ((1 << l_skip) - 1) + 1);
            let xi = exts(&mut rng, l_skip.max(1));
            let airs = [
                Round0Polys {
                    numerator: exts(&mut rng, kept),
                    denominator: exts(&mut rng, kept.min(n)),
                    zerocheck: exts(&mut rng, kept),
                },
                Round0Polys { zerocheck: exts(&mut rng, kept), ..Round0Polys::default() },
            ];
            let batch = Round0Batch::new(l_skip, degree, &xi, &airs);
            let domain: Vec<F> = F::two_adic_generator(l_skip).powers().take(n).collect();
            let sum = |poly: &[EF]| {
                let term = |z: &F| {
                    eval_eq_sharp_uni(&domain, &xi[..l_skip], EF::from(*z))
                        * horner_eval::<_, EF, EF>(poly, EF::from(*z))
                };
                domain.iter().map(term).sum::<EF>()
            };
            assert_eq!(batch.numerator_claims, [sum(&airs[0].numerator), EF::ZERO]);
            assert_eq!(batch.denominator_claims, [sum(&airs[0].denominator), EF::ZERO]);
            let z = exts(&mut rng, 1)[0];
            let zerocheck = &batch.polys[5 * batch.len..];
            assert_eq!(
                horner_eval::<_, EF, EF>(zerocheck, z),
                eval_eq_uni(l_skip, xi[0], z) * horner_eval::<_, EF, EF>(&airs[1].zerocheck, z)
            );
            assert_eq!(zerocheck.len(), (degree + 1) * (n - 1) + 1);
        }
    }
}
