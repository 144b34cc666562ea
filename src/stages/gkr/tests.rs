//! The stage against upstream's `fractional_sumcheck`: equal proofs, points and transcripts.

use openvm_stark_backend::{
    prover::fractional_sumcheck_gkr::{fractional_sumcheck as reference, Frac},
    FiatShamirTranscript,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    default_duplex_sponge, BabyBearPoseidon2Config, DuplexSponge, EF, F,
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{fractional_sumcheck, FractionalSumcheckProof, Fractions};
use crate::{
    error::{Error, Result},
    gpu::{testing, Gpu},
    stages::transcript::Transcript,
};

type SC = BabyBearPoseidon2Config;

fn random_ext(rng: &mut StdRng) -> EF {
    EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))
}

/// Random fractions that sum to zero: each comes with its negative, in random order.
fn balanced(log_len: usize, rng: &mut StdRng) -> Vec<Frac<EF>> {
    let mut leaves = vec![];
    while leaves.len() < 1 << log_len {
        let (p, q, scale) = (random_ext(rng), random_ext(rng), random_ext(rng));
        leaves.extend([Frac { p, q }, Frac { p: -p * scale, q: q * scale }]);
    }
    for i in (1..leaves.len()).rev() {
        leaves.swap(i, rng.random_range(0..=i));
    }
    leaves
}

fn upload(gpu: &Gpu, leaves: &[Frac<EF>]) -> Fractions {
    let log_len = leaves.len().ilog2() as usize;
    let piece_len = Fractions::alloc(gpu, log_len).unwrap().piece_len();
    let pieces = |value: fn(&Frac<EF>) -> EF| {
        let values: Vec<EF> = leaves.iter().map(value).collect();
        values.chunks(piece_len).map(|chunk| gpu.upload(chunk, "leaves").unwrap()).collect()
    };
    Fractions { log_len, numer: pieces(|f| f.p), denom: pieces(|f| f.q) }
}

/// A transcript in some state.
fn transcript(offset: usize) -> DuplexSponge {
    let mut sponge = default_duplex_sponge();
    (0..offset).for_each(|i| FiatShamirTranscript::<SC>::observe(&mut sponge, F::from_usize(i)));
    sponge
}

fn prove(leaves: &[Frac<EF>], sponge: &mut DuplexSponge) -> Result<(FractionalSumcheckProof, Vec<EF>)> {
    let gpu = testing::gpu();
    let leaves = upload(&gpu, leaves);
    let mut tx = Transcript::new(&gpu, sponge)?;
    let mut rec = gpu.recorder("test");
    let sumcheck = fractional_sumcheck(&mut tx, &mut rec, leaves)?;
    let completed = tx.sync(rec)?;
    let xi = sumcheck.xi().into_iter().map(|c| tx.challenge(c)).collect();
    Ok((sumcheck.proof(&tx, &completed)?, xi))
}

fn assert_equals_upstream(log_len: usize) {
    let mut rng = StdRng::seed_from_u64(log_len as u64);
    let leaves = balanced(log_len, &mut rng);
    let (mut host, mut expected) = (transcript(log_len), transcript(log_len));
    let (proof, xi) = prove(&leaves, &mut host).unwrap();
    let (reference, reference_xi) = reference::<SC, _>(&mut expected, &leaves, true).unwrap();
    assert_eq!(proof.q0, reference.fractional_sum.1, "2^{log_len} leaves");
    assert_eq!(proof.claims_per_layer, reference.claims_per_layer, "2^{log_len} leaves");
    assert_eq!(proof.sumcheck_polys, reference.sumcheck_polys, "2^{log_len} leaves");
    assert_eq!(xi, reference_xi);
    assert_eq!(host.state(), expected.state());
    assert_eq!((host.absorb_idx(), host.sample_idx()), (expected.absorb_idx(), expected.sample_idx()));
}

#[test]
fn small_trees_equal_upstream() {
    (1..=9).for_each(assert_equals_upstream);
}

#[test]
fn trees_with_passes_equal_upstream() {
    (10..=15).for_each(assert_equals_upstream);
}

#[test]
fn sums_that_are_not_zero_are_unbalanced() {
    for log_len in [1, 4, 11] {
        let mut leaves = balanced(log_len, &mut StdRng::seed_from_u64(7));
        leaves[1].p += EF::ONE;
        assert!(reference::<SC, _>(&mut transcript(0), &leaves, true).is_err());
        assert!(matches!(prove(&leaves, &mut transcript(0)), Err(Error::UnbalancedInteractions)));
    }
}

#[test]
fn a_single_leaf_is_refused() {
    assert!(matches!(prove(&[Frac { p: EF::ZERO, q: EF::ONE }], &mut transcript(0)), Err(Error::InvalidInput(_))));
}
