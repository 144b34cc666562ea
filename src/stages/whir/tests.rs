//! The stage against upstream's `prove_whir_opening`: equal proofs and equal transcripts.

use openvm_stark_backend::{
    interaction::LogUpSecurityParameters,
    prover::{
        stacked_pcs::{stacked_commit, StackedPcsData},
        whir::prove_whir_opening,
        ColMajorMatrix,
    },
    FiatShamirTranscript, StarkProtocolConfig, WhirConfig, WhirProximityStrategy, WhirRoundConfig,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::default_duplex_sponge;
use openvm_wgpu_testing::transcript::SmallestWitness;
use p3_field::PrimeCharacteristicRing;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{
    gpu::{testing, DeviceMatrix},
    stages::pcs::commit,
};

struct Case<'a> {
    l_skip: usize,
    n_stack: usize,
    log_blowup: usize,
    k: usize,
    /// Queries of each WHIR round.
    queries: &'a [usize],
    /// Proof-of-work bits: mu, folding, queries.
    pow: [usize; 3],
    /// (height, width) of the traces of each commitment.
    commits: &'a [&'a [(usize, usize)]],
}

impl Case<'_> {
    fn params(&self) -> SystemParams {
        let [mu_pow_bits, folding_pow_bits, query_phase_pow_bits] = self.pow;
        let rounds = self.queries.iter().map(|q| WhirRoundConfig { num_queries: *q }).collect();
        SystemParams {
            l_skip: self.l_skip,
            n_stack: self.n_stack,
            w_stack: 1 << 12,
            log_blowup: self.log_blowup,
            whir: WhirConfig {
                k: self.k,
                rounds,
                mu_pow_bits,
                query_phase_pow_bits,
                folding_pow_bits,
                proximity: WhirProximityStrategy::UniqueDecoding,
            },
            logup: LogUpSecurityParameters { max_interaction_count: 1 << 20, log_max_message_length: 7, pow_bits: 1 },
            max_constraint_degree: 3,
        }
    }

    /// Both provers on traces drawn from `seed`: equal proofs, and equal transcripts behind them.
    fn check(&self, seed: u64) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let gpu = testing::gpu();
        let params = self.params();
        let hasher = BabyBearPoseidon2Config::default_from_params(params.clone());
        let hasher = hasher.hasher();
        let host: Vec<Vec<ColMajorMatrix<F>>> =
            self.commits.iter().map(|traces| traces.iter().map(|(h, w)| random_trace(rng, *h, *w)).collect()).collect();
        let data: Vec<StackedPcsData<F, Digest>> = host
            .iter()
            .map(|traces| {
                let traces: Vec<_> = traces.iter().collect();
                stacked_commit(hasher, self.l_skip, self.n_stack, self.log_blowup, self.k, &traces).unwrap().1
            })
            .collect();
        let device: Vec<PcsData> = host
            .iter()
            .map(|traces| {
                let traces: Vec<_> = traces.iter().map(|t| upload(&gpu, t)).collect();
                commit(&gpu, &params, &traces.iter().collect::<Vec<_>>()).unwrap().1
            })
            .collect();
        let u: Vec<EF> = (0..self.l_skip + self.n_stack).map(|_| rng.random()).collect();

        let mut sponge = default_duplex_sponge();
        (0..rng.random_range(0..9)).for_each(|i| FiatShamirTranscript::<SC>::observe(&mut sponge, F::from_u32(i)));
        let mut expected_ts = SmallestWitness::from(sponge.clone());
        let matrices: Vec<_> = data.iter().map(|d| (&d.matrix, &d.tree)).collect();
        let (l_skip, log_blowup) = (self.l_skip, self.log_blowup);
        let expected =
            prove_whir_opening::<SC, _>(&mut expected_ts, hasher, l_skip, log_blowup, &params.whir, &matrices, &u)
                .unwrap();

        let mut ts = sponge;
        let mut tx = Transcript::new(&gpu, &mut ts).unwrap();
        let u_cube = gpu.upload(&u, "u_cube").unwrap();
        let proof = prove_whir(&mut tx, &params, &device.iter().collect::<Vec<_>>(), &u_cube).unwrap();
        equal(&proof, &expected);
        tx.finish().unwrap();
        let expected = expected_ts.sponge();
        assert_eq!(ts.state(), expected.state());
        assert_eq!((ts.absorb_idx(), ts.sample_idx()), (expected.absorb_idx(), expected.sample_idx()));
    }
}

fn random_trace(rng: &mut StdRng, height: usize, width: usize) -> ColMajorMatrix<F> {
    ColMajorMatrix::new((0..height * width).map(|_| rng.random()).collect(), width)
}

fn upload(gpu: &crate::gpu::Gpu, trace: &ColMajorMatrix<F>) -> DeviceMatrix<F> {
    use openvm_stark_backend::prover::MatrixDimensions;
    DeviceMatrix::upload(gpu, &trace.values, trace.height(), trace.width(), "trace").unwrap()
}

/// Field by field, so that a failure says where.
fn equal(found: &WhirProof<SC>, expected: &WhirProof<SC>) {
    assert_eq!(found.mu_pow_witness, expected.mu_pow_witness, "mu_pow_witness");
    assert_eq!(found.whir_sumcheck_polys, expected.whir_sumcheck_polys, "whir_sumcheck_polys");
    assert_eq!(found.folding_pow_witnesses, expected.folding_pow_witnesses, "folding_pow_witnesses");
    assert_eq!(found.codeword_commits, expected.codeword_commits, "codeword_commits");
    assert_eq!(found.ood_values, expected.ood_values, "ood_values");
    assert_eq!(found.query_phase_pow_witnesses, expected.query_phase_pow_witnesses, "query_phase_pow_witnesses");
    assert_eq!(found.final_poly, expected.final_poly, "final_poly");
    assert!(found.initial_round_opened_rows == expected.initial_round_opened_rows, "initial_round_opened_rows");
    assert!(found.initial_round_merkle_proofs == expected.initial_round_merkle_proofs, "initial_round_merkle_proofs");
    assert!(found.codeword_opened_values == expected.codeword_opened_values, "codeword_opened_values");
    assert!(found.codeword_merkle_proofs == expected.codeword_merkle_proofs, "codeword_merkle_proofs");
    assert!(found == expected);
}

// ---- proofs that equal upstream's ----

/// Everything is folded away.
#[test]
fn one_variable_in_one_round() {
    Case { l_skip: 0, n_stack: 1, log_blowup: 1, k: 1, queries: &[3], pow: [0, 0, 0], commits: &[&[(2, 1)]] }.check(0);
}

/// Traces below the skip domain, and no proof of work.
#[test]
fn rounds_of_one_variable() {
    Case {
        l_skip: 2,
        n_stack: 3,
        log_blowup: 1,
        k: 1,
        queries: &[5, 4, 3, 2],
        pow: [0, 0, 0],
        commits: &[&[(32, 2), (8, 3), (2, 5)]],
    }
    .check(1);
}

/// Of very different heights, down to one cell.
#[test]
fn three_commitments() {
    Case {
        l_skip: 1,
        n_stack: 7,
        log_blowup: 2,
        k: 2,
        queries: &[9, 7, 1, 6],
        pow: [1, 2, 3],
        commits: &[&[(256, 1), (128, 3)], &[(64, 2)], &[(1, 1)]],
    }
    .check(2);
}

/// Folds of four variables.
#[test]
fn dozens_of_queries() {
    Case {
        l_skip: 4,
        n_stack: 5,
        log_blowup: 1,
        k: 4,
        queries: &[40, 30],
        pow: [5, 3, 4],
        commits: &[&[(512, 7), (16, 11), (4, 9)], &[(32, 3)]],
    }
    .check(3);
}

/// At a blowup of 8.
#[test]
fn folds_of_three_variables() {
    Case {
        l_skip: 2,
        n_stack: 8,
        log_blowup: 3,
        k: 3,
        queries: &[20, 10, 10],
        pow: [0, 1, 2],
        commits: &[&[(1024, 2)], &[(256, 5), (128, 1)]],
    }
    .check(4);
}

#[test]
fn several_workgroups_everywhere() {
    Case {
        l_skip: 4,
        n_stack: 10,
        log_blowup: 1,
        k: 4,
        queries: &[193, 88, 81],
        pow: [6, 2, 7],
        commits: &[&[(1 << 14, 10), (1 << 12, 3), (8, 100)], &[(1 << 10, 7)]],
    }
    .check(5);
}

/// At a blowup of 4.
#[test]
fn single_folds_of_a_tall_column() {
    Case {
        l_skip: 3,
        n_stack: 8,
        log_blowup: 2,
        k: 1,
        queries: &[10, 9, 8, 7],
        pow: [2, 2, 2],
        commits: &[&[(1 << 11, 1)]],
    }
    .check(6);
}

#[test]
fn foldings_by_more_than_a_workgroups_share() {
    Case {
        l_skip: 0,
        n_stack: 13,
        log_blowup: 1,
        k: 6,
        queries: &[5, 3],
        pow: [0, 0, 1],
        commits: &[&[(1 << 13, 3), (1 << 7, 5)]],
    }
    .check(7);
}

// ---- wrong input ----

#[test]
fn wrong_shapes_are_errors() {
    let mut rng = StdRng::seed_from_u64(19);
    let gpu = testing::gpu();
    let case = Case { l_skip: 1, n_stack: 3, log_blowup: 1, k: 2, queries: &[1, 1], pow: [0, 0, 0], commits: &[] };
    let params = case.params();
    let data = commit(&gpu, &params, &[&upload(&gpu, &random_trace(&mut rng, 16, 1))]).unwrap().1;
    let prove = |params: &SystemParams, commits: &[&PcsData], coordinates: usize| {
        let mut ts = default_duplex_sponge();
        let mut tx = Transcript::new(&gpu, &mut ts).unwrap();
        let u_cube = gpu.upload(&vec![EF::ONE; coordinates], "u").unwrap();
        prove_whir(&mut tx, params, commits, &u_cube).map(|_| ())
    };
    assert!(prove(&params, &[&data], 4).is_ok());
    assert!(matches!(prove(&params, &[&data], 5), Err(Error::InvalidInput(_))));
    assert!(matches!(prove(&params, &[], 4), Err(Error::InvalidInput(_))));
    let taller = Case { n_stack: 4, ..case }.params();
    assert!(matches!(prove(&taller, &[&data], 5), Err(Error::InvalidInput(_))));
    let mut no_rounds = params.clone();
    no_rounds.whir.rounds.clear();
    assert!(matches!(prove(&no_rounds, &[&data], 4), Err(Error::Unsupported(_))));
    let mut too_many = params;
    too_many.whir.k = 3;
    assert!(matches!(prove(&too_many, &[&data], 4), Err(Error::Unsupported(_))));
}
