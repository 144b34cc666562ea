//! The proof of the stage, as places on the transcript's tape until the transcript is synchronised.

use std::ops::Range;

use openvm_stark_backend::proof::GkrLayerClaims;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, EF};
use p3_field::PrimeCharacteristicRing;

use crate::{
    error::{Error, Result},
    gpu::{Completed, Ticket},
    stages::transcript::{Challenge, KernelSteps, Observed, Transcript},
};

type SC = BabyBearPoseidon2Config;

/// One layer: its rounds, then its claims.
#[derive(Default)]
pub(super) struct LayerProof {
    polys: Vec<Observed<EF>>,
    rho: Vec<Challenge>,
    claims: Option<(Observed<EF>, Challenge)>,
}

/// The proof that [`fractional_sumcheck`](super::fractional_sumcheck) recorded.
pub struct FractionalSumcheck {
    pub(super) root_numerator: Ticket<EF>,
    pub(super) root: Observed<EF>,
    /// Layer 0, which has no rounds, first.
    pub(super) layers: Vec<LayerProof>,
}

/// The parts of a `GkrProof` that the fractional sumcheck makes.
#[derive(Debug, PartialEq, Eq)]
pub struct FractionalSumcheckProof {
    /// The root's denominator.
    pub q0: EF,
    /// p_0, q_0, p_1, q_1 at the point of each layer.
    pub claims_per_layer: Vec<GkrLayerClaims<SC>>,
    /// The round polynomials of the layers 1, 2, .., each at 1, 2, 3.
    pub sumcheck_polys: Vec<Vec<[EF; 3]>>,
}

impl LayerProof {
    /// Rounds without the claims.
    pub(super) fn rounds(steps: &KernelSteps) -> Self {
        Self { polys: steps.observed.clone(), rho: steps.sampled.iter().map(|s| s[0].clone()).collect(), claims: None }
    }

    /// A range of steps of which the last is the claims'.
    pub(super) fn new(steps: &KernelSteps, range: Range<usize>) -> Self {
        let last = range.end - 1;
        Self {
            polys: steps.observed[range.start..last].to_vec(),
            rho: steps.sampled[range.start..last].iter().map(|s| s[0].clone()).collect(),
            claims: Some((steps.observed[last].clone(), steps.sampled[last][0].clone())),
        }
    }

    /// Adds what follows.
    pub(super) fn append(&mut self, rest: LayerProof) {
        self.polys.extend(rest.polys);
        self.rho.extend(rest.rho);
        self.claims = rest.claims;
    }
}

impl FractionalSumcheck {
    /// The point xi at which the leaves are claimed, as many coordinates as the tree has levels.
    pub fn xi(&self) -> Vec<Challenge> {
        let last = self.layers.last().expect("layer 0 is always there");
        let (_, mu) = last.claims.as_ref().expect("a layer ends with claims");
        [std::slice::from_ref(mu), &last.rho].concat()
    }

    /// The proof, after the transcript was synchronised.
    ///
    /// # Errors
    ///
    /// [`Error::UnbalancedInteractions`] when the fractions do not sum to zero.
    pub fn proof(self, tx: &Transcript<'_>, completed: &Completed) -> Result<FractionalSumcheckProof> {
        if completed.take(self.root_numerator)? != [EF::ZERO] {
            return Err(Error::UnbalancedInteractions);
        }
        let claims = |layer: &LayerProof| {
            let values = tx.values(&layer.claims.as_ref().expect("a layer ends with claims").0);
            GkrLayerClaims { p_xi_0: values[0], q_xi_0: values[1], p_xi_1: values[2], q_xi_1: values[3] }
        };
        let polys = |layer: &LayerProof| {
            layer.polys.iter().map(|poly| tx.values(poly).try_into().expect("three values")).collect()
        };
        Ok(FractionalSumcheckProof {
            q0: tx.values(&self.root)[0],
            claims_per_layer: self.layers.iter().map(claims).collect(),
            sumcheck_polys: self.layers[1..].iter().map(polys).collect(),
        })
    }
}
