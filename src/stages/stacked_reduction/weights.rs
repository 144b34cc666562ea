//! Weight polynomials of the kinds of views, as far as `r` determines them (the host knows it).

use openvm_stark_backend::poly_common::eval_eq_uni_at_one;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{PrimeCharacteristicRing, TwoAdicField};

use super::plan::Kind;

/// Per kind 2 N + 1 elements (N = 2^l_skip): the coefficients of `w_eq`, those of `w_rot`, and the rot constant, such that
///
/// ```text
/// in_{D,n}(Z) (eq_D(Z, r_0) + lambda kappa_rot(Z, r_0)) = (w_eq + lambda w_rot)(Z) eq(x, r) + lambda c (sum_j Z^j) eq(rot^-1(x), r)
/// ```
///
/// with `w_rot = 0` and `c = 0` for views that are not rotated. The cube is rotated only above the skip domain, so `c = 0` below, too.
pub(crate) fn kind_constants(l_skip: usize, r_0: EF, kinds: &[Kind]) -> Vec<EF> {
    let omega = F::two_adic_generator(l_skip);
    let inverse_size = F::ONE.div_2exp_u64(l_skip as u64);
    let turn = eval_eq_uni_at_one(l_skip, r_0 * omega) * inverse_size;
    let mut constants = vec![];
    for kind in kinds {
        let turn = if kind.rot && kind.log_z == l_skip { turn } else { EF::ZERO };
        constants.extend(eq_weight(l_skip, kind.log_z, r_0));
        if kind.rot {
            constants.extend(eq_weight(l_skip, kind.log_z, r_0 * omega).into_iter().map(|w| w - turn));
        } else {
            constants.extend(vec![EF::ZERO; 1 << l_skip]);
        }
        constants.push(turn);
    }
    constants
}

/// The coefficients of `in_{D,n}(Z) eq_{D'}(Z, y')` for the subgroup D' of order 2^log_z and y' = y^(N / 2^log_z).
///
/// eq_{D'}(Z, y') has coefficients y'^(2^log_z - k) / 2^log_z (1 / 2^log_z at k = 0), and the indicator, sum_j Z^(j 2^log_z) 2^log_z / N,
/// repeats them.
fn eq_weight(l_skip: usize, log_z: usize, y: EF) -> Vec<EF> {
    let size = 1 << log_z;
    let y = y.exp_power_of_2(l_skip - log_z);
    let mut period: Vec<EF> = y.shifted_powers(EF::ONE.div_2exp_u64(l_skip as u64)).skip(1).take(size).collect();
    period.reverse();
    period[0] = EF::ONE.div_2exp_u64(l_skip as u64);
    period.into_iter().cycle().take(1 << l_skip).collect()
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::poly_common::{eval_eq_uni, eval_in_uni, horner_eval};
    use rand::{rngs::StdRng, SeedableRng};

    use super::*;
    use crate::stages::stacked_reduction::tests::random_ext;

    #[test]
    fn weights_are_upstreams_factors() {
        let mut rng = StdRng::seed_from_u64(1);
        for l_skip in 0..=5 {
            let (r_0, z) = (random_ext(&mut rng), random_ext(&mut rng));
            let omega = F::two_adic_generator(l_skip);
            for log_z in 0..=l_skip {
                let short = l_skip - log_z;
                let indicator = eval_in_uni(l_skip, -(short as isize), z);
                let eq = |y: EF| indicator * eval_eq_uni(log_z, z, y.exp_power_of_2(short));
                let constants = kind_constants(l_skip, r_0, &[Kind { log_z, rot: true }]);
                let (w_eq, rest) = constants.split_at(1 << l_skip);
                let (w_rot, c) = rest.split_at(1 << l_skip);
                assert_eq!(horner_eval::<EF, EF, EF>(w_eq, z), eq(r_0));
                let ones: EF = z.powers().take(1 << l_skip).sum();
                // without rotation of the cube, both parts add up to eq_D(Z, omega r_0)
                assert_eq!(horner_eval::<EF, EF, EF>(w_rot, z) + c[0] * ones, eq(r_0 * omega));
                let turn = eval_eq_uni_at_one(l_skip, z) * eval_eq_uni_at_one(l_skip, r_0 * omega);
                assert_eq!(c[0] * ones, if short == 0 { turn } else { EF::ZERO });
                let plain = kind_constants(l_skip, r_0, &[Kind { log_z, rot: false }]);
                assert_eq!((&plain[..1 << l_skip], plain[1 << l_skip..].iter().all(|w| *w == EF::ZERO)), (w_eq, true));
            }
        }
    }
}
