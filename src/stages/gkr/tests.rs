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

use super::{fractional_sumcheck, padded_fractional_sumcheck, FractionalSumcheck, FractionalSumcheckProof, Fractions};
use crate::{
    error::{Error, Result},
    gpu::{testing, DeviceBuffer, Gpu, Recorder},
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

/// Stores the first `real_len` leaves.
fn upload(gpu: &Gpu, leaves: &[Frac<EF>], real_len: usize) -> Fractions {
    let log_len = leaves.len().ilog2() as usize;
    let all = Fractions::alloc_padded(gpu, log_len, real_len).unwrap();
    let pieces = |value: fn(&Frac<EF>) -> EF| -> Vec<DeviceBuffer<EF>> {
        let values: Vec<EF> = leaves[..real_len].iter().map(value).collect();
        values.chunks(all.piece_len()).map(|chunk| gpu.upload(chunk, "leaves").unwrap()).collect()
    };
    let numer = pieces(|f| f.p).iter().map(DeviceBuffer::cast).collect();
    Fractions { numer, denom: pieces(|f| f.q), ..all.clone() }
}

/// A transcript in some state.
fn transcript(offset: usize) -> DuplexSponge {
    let mut sponge = default_duplex_sponge();
    (0..offset).for_each(|i| FiatShamirTranscript::<SC>::observe(&mut sponge, F::from_usize(i)));
    sponge
}

fn prove(leaves: &[Frac<EF>], sponge: &mut DuplexSponge) -> Result<(FractionalSumcheckProof, Vec<EF>)> {
    let gpu = testing::gpu();
    let leaves = upload(&gpu, leaves, leaves.len());
    let mut tx = Transcript::new(&gpu, sponge)?;
    let mut rec = gpu.recorder("test");
    let sumcheck = fractional_sumcheck(&mut tx, &mut rec, leaves)?;
    finish(tx, rec, sumcheck)
}

/// The same with leaves that end in padding; alpha is sampled first.
fn prove_padded(leaves: &[Frac<EF>], real_len: usize, sponge: &mut DuplexSponge) -> (FractionalSumcheckProof, Vec<EF>) {
    let gpu = testing::gpu();
    let leaves = upload(&gpu, leaves, real_len);
    let mut tx = Transcript::new(&gpu, sponge).unwrap();
    let mut rec = gpu.recorder("test");
    let alpha = tx.sample_ext(&mut rec).unwrap();
    let sumcheck = padded_fractional_sumcheck(&mut tx, &mut rec, leaves, &alpha).unwrap();
    finish(tx, rec, sumcheck).unwrap()
}

fn finish(
    mut tx: Transcript<'_>,
    rec: Recorder,
    sumcheck: FractionalSumcheck,
) -> Result<(FractionalSumcheckProof, Vec<EF>)> {
    let completed = tx.sync(rec)?;
    let xi = sumcheck.xi().iter().map(|c| tx.challenge(c)).collect();
    let proof = sumcheck.proof(&tx, &completed)?;
    tx.finish()?;
    Ok((proof, xi))
}

fn assert_equals_upstream(log_len: usize) {
    let leaves = balanced(log_len, &mut StdRng::seed_from_u64(log_len as u64));
    let (mut host, expected) = (transcript(log_len), transcript(log_len));
    let found = prove(&leaves, &mut host).unwrap();
    assert_equal(found, &leaves, (host, expected));
}

/// Compares with upstream's proof of the same leaves from the transcript `expected`.
fn assert_equal(
    (proof, xi): (FractionalSumcheckProof, Vec<EF>),
    leaves: &[Frac<EF>],
    (host, mut expected): (DuplexSponge, DuplexSponge),
) {
    let log_len = leaves.len().ilog2();
    let (reference, reference_xi) = reference::<SC, _>(&mut expected, leaves, true).unwrap();
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
fn padding_equals_leaves_of_zero_over_alpha() {
    let cases = [(1, 2), (3, 4), (5, 12), (9, 258), (10, 1000), (12, 2049), (13, 5000), (14, 16382), (14, 4100)];
    for (i, (log_len, even_len)) in cases.into_iter().enumerate() {
        // an odd number of leaves every other time: the last numerator is zero
        let real_len = even_len - i % 2;
        let mut leaves = balanced(log_len, &mut StdRng::seed_from_u64(i as u64));
        let (mut host, mut expected) = (transcript(i), transcript(i));
        let alpha: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
        rebalance(&mut leaves[..real_len]);
        leaves[real_len..].fill(Frac { p: EF::ZERO, q: alpha });
        let found = prove_padded(&leaves, real_len, &mut host);
        assert_equal(found, &leaves, (host, expected));
    }
}

/// Makes neighbours cancel.
fn rebalance(leaves: &mut [Frac<EF>]) {
    for pair in leaves.chunks_mut(2) {
        match pair {
            [a, b] => (b.p, b.q) = (-a.p * b.p, a.q * b.p),
            rest => rest[0].p = EF::ZERO,
        }
    }
}

#[test]
fn padding_needs_an_alpha() {
    let gpu = testing::gpu();
    let mut sponge = transcript(0);
    let mut tx = Transcript::new(&gpu, &mut sponge).unwrap();
    let leaves = Fractions::alloc_padded(&gpu, 4, 9).unwrap();
    let result = fractional_sumcheck(&mut tx, &mut gpu.recorder("test"), leaves);
    assert!(matches!(result, Err(Error::InvalidInput(_))));
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
