//! The stage against upstream's reference prover: equal proofs, points and transcripts.

use openvm_stark_backend::{
    prover::{
        stacked_pcs::{stacked_matrix, MerkleTree, StackedPcsData},
        stacked_reduction::{self as upstream, StackedReductionCpu},
        ColMajorMatrix, CpuColMajorBackend, ReferenceDevice,
    },
    test_utils::default_test_params_small,
    StarkProtocolConfig,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, Digest, DuplexSponge, F};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::gpu::{testing, DeviceMatrix, Gpu};

pub(crate) fn random_ext(rng: &mut StdRng) -> EF {
    EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))
}

/// Parameters of this shape; what concerns WHIR is arbitrary.
fn params(l_skip: usize, n_stack: usize) -> SystemParams {
    SystemParams { l_skip, n_stack, ..default_test_params_small() }
}

/// Traces of a commitment: (log_height, width, needs rotation).
type Shapes<'a> = &'a [(usize, usize, bool)];

struct Case<'a> {
    l_skip: usize,
    n_stack: usize,
    commits: &'a [Shapes<'a>],
}

/// The host's and the device's view of the same commitments.
struct Input {
    device: ReferenceDevice<SC>,
    params: SystemParams,
    host: Vec<StackedPcsData<F, Digest>>,
    stacked: Vec<StackedMatrix>,
    need_rot: Vec<Vec<bool>>,
    r: Vec<EF>,
}

impl Input {
    /// Commitments of random traces; `whole` of them are stacked on the host already.
    fn random(gpu: &Gpu, case: &Case<'_>, whole: impl Fn(usize) -> bool, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let params = params(case.l_skip, case.n_stack);
        let config = SC::default_from_params(params.clone());
        let mut input = Self {
            r: (0..1 + case.n_stack).map(|_| random_ext(&mut rng)).collect(),
            need_rot: case.commits.iter().map(|c| c.iter().map(|shape| shape.2).collect()).collect(),
            device: ReferenceDevice::new(config.clone()),
            params,
            host: vec![],
            stacked: vec![],
        };
        for (i, shapes) in case.commits.iter().enumerate() {
            let values = |rng: &mut StdRng, len: usize| (0..len).map(|_| F::from_u32(rng.random())).collect();
            let traces: Vec<_> =
                shapes.iter().map(|(h, w, _)| ColMajorMatrix::new(values(&mut rng, w << h), *w)).collect();
            let (matrix, layout) =
                stacked_matrix(case.l_skip, case.n_stack, &traces.iter().collect::<Vec<_>>()).unwrap();
            let upload = |m: &ColMajorMatrix<F>, height| {
                DeviceMatrix::upload(gpu, &m.values, height, m.values.len() / height, "trace").unwrap()
            };
            input.stacked.push(if whole(i) {
                StackedMatrix::from_stacked(layout.clone(), upload(&matrix, layout.height())).unwrap()
            } else {
                let device: Vec<_> = traces.iter().zip(*shapes).map(|(t, shape)| upload(t, 1 << shape.0)).collect();
                StackedMatrix::new(case.l_skip, case.n_stack, &device.iter().collect::<Vec<_>>()).unwrap()
            });
            // the reduction does not look at the tree
            let tree = MerkleTree::new(config.hasher(), ColMajorMatrix::new(vec![F::ZERO], 1), 1).unwrap();
            input.host.push(StackedPcsData::new(layout, matrix, tree));
        }
        input
    }

    fn expected(&self, transcript: &mut DuplexSponge) -> (StackingProof<SC>, Vec<EF>) {
        upstream::prove_stacked_opening_reduction::<SC, CpuColMajorBackend<SC>, _, _, StackedReductionCpu<'_, SC>>(
            &self.device,
            transcript,
            self.params.n_stack,
            self.host.iter().collect(),
            self.need_rot.clone(),
            &self.r,
        )
    }

    fn check(&self, gpu: &Gpu, what: &str) {
        let (mut expected_ts, mut found_ts) = (default_duplex_sponge(), default_duplex_sponge());
        let (expected, expected_u) = self.expected(&mut expected_ts);
        let mut tx = Transcript::new(gpu, &mut found_ts).unwrap();
        let stacked: Vec<_> = self.stacked.iter().collect();
        let mut rec = gpu.recorder("test");
        let reduction =
            StackedReduction::record(&mut tx, &mut rec, &self.params, &stacked, &self.need_rot, &self.r).unwrap();
        tx.sync(rec).unwrap();
        let found = reduction.proof(&tx);
        let u: Vec<EF> = reduction.u.iter().map(|c| tx.challenge(c)).collect();
        assert_eq!(found.univariate_round_coeffs, expected.univariate_round_coeffs, "{what}: s_0");
        for (round, (f, e)) in found.sumcheck_round_polys.iter().zip(&expected.sumcheck_round_polys).enumerate() {
            assert_eq!(f, e, "{what}: round {}", round + 1);
        }
        assert_eq!(found, expected, "{what}");
        assert_eq!(u, expected_u, "{what}: u");
        tx.finish().unwrap();
        assert_eq!(found_ts.state(), expected_ts.state(), "{what}: transcript");
    }
}

fn check(cases: &[Case<'_>]) {
    let gpu = testing::gpu();
    for (i, case) in cases.iter().enumerate() {
        let what = format!("case {i}, l_skip {}, n_stack {}, {:?}", case.l_skip, case.n_stack, case.commits);
        Input::random(&gpu, case, |_| false, i as u64).check(&gpu, &what);
        Input::random(&gpu, case, |commit| commit % 2 == 0, i as u64).check(&gpu, &what);
    }
}

#[test]
fn single_columns_of_every_height() {
    let heights: Vec<Vec<(usize, usize, bool)>> =
        (0..=6).flat_map(|h| [vec![(h, 1, false)], vec![(h, 1, true)]]).collect();
    for l_skip in 0..=6 {
        let commits: Vec<[Shapes<'_>; 1]> = heights.iter().map(|shapes| [shapes.as_slice()]).collect();
        let cases: Vec<Case<'_>> =
            commits.iter().map(|commits| Case { l_skip, n_stack: 6 - l_skip, commits }).collect();
        check(&cases);
    }
}

#[test]
fn mixed_heights_rotations_and_commitments() {
    let common: Shapes<'_> =
        &[(7, 3, true), (7, 2, false), (5, 9, true), (4, 1, false), (3, 5, true), (1, 4, true), (0, 3, false)];
    let preprocessed: Shapes<'_> = &[(6, 1, false)];
    let cached: Shapes<'_> = &[(2, 7, true)];
    let wide: Shapes<'_> = &[(7, 2, true), (6, 33, false), (6, 6, true), (2, 130, true)];
    let full: Shapes<'_> = &[(7, 3, false)];
    for l_skip in 0..=6 {
        check(&[
            Case { l_skip, n_stack: 7 - l_skip, commits: &[common] },
            Case { l_skip, n_stack: 8 - l_skip, commits: &[common, preprocessed, cached, wide] },
            Case { l_skip, n_stack: 7 - l_skip, commits: &[cached, full, common, preprocessed] },
        ]);
    }
}

#[test]
fn columns_of_several_blocks() {
    let tall: Shapes<'_> = &[(14, 5, true), (13, 3, false), (12, 1, true), (11, 70, true), (3, 2, true)];
    let cached: Shapes<'_> = &[(13, 1, true)];
    check(&[
        Case { l_skip: 4, n_stack: 10, commits: &[tall, cached] },
        Case { l_skip: 0, n_stack: 14, commits: &[tall] },
        Case { l_skip: 2, n_stack: 13, commits: &[cached, tall] },
    ]);
}

#[test]
fn large_skip_domains() {
    for l_skip in 7..=9 {
        // columns below, at and above the skip domain
        let mixed: Shapes<'_> = &[
            (l_skip + 2, 3, true),
            (l_skip + 1, 2, false),
            (l_skip, 5, true),
            (l_skip, 1, false),
            (l_skip - 1, 2, true),
            (3, 4, true),
            (0, 3, false),
        ];
        let single: Shapes<'_> = &[(l_skip, 1, true)];
        let short: Shapes<'_> = &[(1, 7, true), (0, 1, true)];
        check(&[
            Case { l_skip, n_stack: 0, commits: &[single, short] },
            Case { l_skip, n_stack: 1, commits: &[&[(l_skip + 1, 2, true)], single] },
            Case { l_skip, n_stack: 2, commits: &[mixed] },
            Case { l_skip, n_stack: 3, commits: &[single, mixed, short] },
        ]);
    }
    // several records of several blocks
    let tall: Shapes<'_> = &[(14, 3, true), (13, 2, false)];
    check(&[Case { l_skip: 8, n_stack: 6, commits: &[tall] }, Case { l_skip: 9, n_stack: 5, commits: &[tall] }]);
}

#[test]
fn input_that_does_not_fit_is_refused() {
    let gpu = testing::gpu();
    let input = Input::random(&gpu, &Case { l_skip: 2, n_stack: 3, commits: &[&[(4, 2, true)]] }, |_| false, 1);
    let prove = |params: &SystemParams, need_rot: &[Vec<bool>], r: &[EF]| {
        let mut ts = default_duplex_sponge();
        let mut tx = Transcript::new(&gpu, &mut ts).unwrap();
        let mut rec = gpu.recorder("test");
        StackedReduction::record(&mut tx, &mut rec, params, &[&input.stacked[0]], need_rot, r).map(|_| ())
    };
    let refused = |result: Result<()>| matches!(result, Err(Error::InvalidInput(_)));
    assert!(prove(&input.params, &input.need_rot, &input.r).is_ok());
    assert!(refused(prove(&input.params, &[], &input.r)));
    assert!(refused(prove(&input.params, &[vec![true, false]], &input.r)));
    assert!(refused(prove(&input.params, &input.need_rot, &input.r[..2])));
    let other = params(3, 3);
    assert!(refused(prove(&other, &input.need_rot, &input.r)));
    let large = SystemParams { l_skip: 10, ..input.params.clone() };
    assert!(matches!(prove(&large, &input.need_rot, &input.r), Err(Error::Unsupported(_))));
}
