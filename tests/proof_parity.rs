//! Bit-identical proofs: whatever upstream's reference engine proves, the wgpu engine proves with the same bytes.
//!
//! The reference runs under a transcript that takes the smallest proof-of-work witness, as the wgpu prover does, which
//! makes a proof a function of its input.

mod device;

use openvm_stark_backend::{
    codec::Encode,
    prover::{AirProvingContext, ProvingContext},
    test_utils::{
        CachedFixture11, FibFixture, InteractionsFixture11, MixtureFixture, PreprocessedAndCachedFixture,
        PreprocessedFibFixture, SelfInteractionFixture, TestFixture,
    },
    StarkEngine, SystemParams, WhirProximityStrategy,
};
use openvm_stark_sdk::config::{app_params_with_100_bits_security, params_with_100_bits_security};
use proptest::{prelude::*, test_runner::TestCaseError};

use device::engine;
use openvm_wgpu_testing::workloads::{Workload, WorkloadKind};
use openvm_wgpu_testing::{
    cases,
    params::SmallParams,
    parity::{assert_fixture_parity, check_parity, prove_on},
    random_airs::air_sets,
};

/// Every other row selected.
fn alternating(rows: usize) -> Vec<bool> {
    (0..rows).map(|row| row % 2 == 0).collect()
}

// ---- upstream's fixtures, l_skip 0 to 9 ----

/// Heights from one row, below and at the univariate skip, to the stacked height.
#[test]
fn fibonacci() {
    for l_skip in 0..=9 {
        let params = SmallParams::new(l_skip, 3);
        let engine = engine(params.build());
        // without interactions and without a single variable, upstream's prover panics
        let least = usize::from(l_skip == 0);
        let mut log_heights = vec![least, l_skip / 2, l_skip, l_skip + 1, params.log_stacked_height()];
        log_heights.retain(|log_height| *log_height >= least);
        log_heights.dedup();
        for log_height in log_heights {
            assert_fixture_parity(&engine, &FibFixture::new(3, 5, 1 << log_height));
        }
    }
}

#[test]
fn interactions() {
    for l_skip in 0..=9 {
        let engine = engine(SmallParams::new(l_skip, 4).build());
        assert_fixture_parity(&engine, &InteractionsFixture11);
        let widths = vec![1, 4, 7];
        assert_fixture_parity(&engine, &SelfInteractionFixture { widths, log_height: l_skip.min(5), bus_index: 4 });
    }
}

#[test]
fn cached_mains() {
    for l_skip in 0..=9 {
        let engine = engine(SmallParams::new(l_skip, 4).build());
        assert_fixture_parity(&engine, &CachedFixture11::new(engine.config().clone()));
    }
}

#[test]
fn preprocessed_traces() {
    for l_skip in 0..=9 {
        let engine = engine(SmallParams::new(l_skip, 3).build());
        // one row and l_skip 0: see `fibonacci`
        for log_height in [usize::from(l_skip == 0), l_skip + 2] {
            assert_fixture_parity(&engine, &PreprocessedFibFixture::new(2, 7, alternating(1 << log_height)));
        }
    }
}

#[test]
fn preprocessed_and_cached_traces() {
    for (l_skip, cached_parts) in [(0, 1), (2, 2), (5, 3), (9, 1)] {
        let params = SmallParams::new(l_skip, 4);
        let engine = engine(params.build());
        for log_height in [1, params.log_stacked_height() - 1] {
            let config = engine.config().clone();
            let fixture = PreprocessedAndCachedFixture::new(alternating(1 << log_height), config, cached_parts);
            assert_fixture_parity(&engine, &fixture);
        }
    }
}

/// All kinds of AIRs in one proof, at equal and different heights.
#[test]
fn mixtures_of_heights() {
    for (l_skip, n_stack, log_heights) in [(0, 8, [0, 6]), (2, 8, [1, 9]), (4, 5, [3, 8]), (9, 1, [2, 10])] {
        let engine = engine(SmallParams::new(l_skip, n_stack).build());
        for log_height in log_heights {
            assert_fixture_parity(&engine, &MixtureFixture::standard(log_height, engine.config().clone()));
        }
    }
}

#[test]
fn absent_airs() {
    let engine = engine(SmallParams::new(2, 4).build());
    for absent in [vec![], vec![0], vec![1, 2], vec![0, 1, 3]] {
        assert_fixture_parity(&engine, &FibFixture::new_with_num_airs(1, 1, 16, 4).with_empty_air_indices(absent));
    }
}

/// A degree below what most AIRs need, and above.
#[test]
fn constraint_degrees() {
    for max_constraint_degree in 1..=6 {
        let engine = engine(SmallParams { max_constraint_degree, ..SmallParams::new(3, 4) }.build());
        assert_fixture_parity(&engine, &InteractionsFixture11);
        if max_constraint_degree > 1 {
            assert_fixture_parity(&engine, &FibFixture::new(0, 1, 64));
        }
    }
}

// ---- parameters ----

/// Folding factors, rates and numbers of rounds of WHIR.
#[test]
fn whir_shapes() {
    for log_blowup in 1..=3 {
        for k_whir in 1..=4 {
            for whir_rounds in [1, 8 / k_whir] {
                let params = SmallParams { log_blowup, k_whir, whir_rounds, ..SmallParams::new(3, 5) };
                assert_fixture_parity(&engine(params.build()), &FibFixture::new(1, 2, 1 << 7));
            }
        }
    }
}

/// The production parameters but for the stacked height: their numbers of queries, proof-of-work bits and rates.
#[test]
fn production_parameters() {
    let leaf = params_with_100_bits_security(2, 4, 11, 2048, 4, 13, WhirProximityStrategy::UniqueDecoding, 4, 20, 4);
    let list = WhirProximityStrategy::ListDecoding { m: 2 };
    let internal = params_with_100_bits_security(3, 2, 11, 512, 18, 20, list, 4, 20, 4);
    for params in [leaf, internal] {
        let engine = engine(params);
        assert_fixture_parity(&engine, &MixtureFixture::standard(6, engine.config().clone()));
    }
}

// ---- workloads ----

fn assert_workload_parity(kind: WorkloadKind, log_n: usize, params: SystemParams) {
    let workload = Workload { kind, log_n };
    let engine = engine(params);
    let (pk, _) = engine.keygen(&workload.airs());
    let contexts = workload.traces(42).into_iter().map(AirProvingContext::simple_no_pis);
    let ctx = ProvingContext::new(contexts.enumerate().collect());
    check_parity(&engine, &pk, &ctx).unwrap_or_else(|e| panic!("{} {log_n}: {e}", workload.name()));
}

/// Four keccak-f permutations under the application's parameters.
#[test]
fn keccak() {
    assert_workload_parity(WorkloadKind::Keccak, 2, app_params_with_100_bits_security(15));
}

#[test]
fn dummy_interactions() {
    assert_workload_parity(WorkloadKind::Dummy, 9, SmallParams::new(4, 8).build());
}

#[test]
fn vm() {
    assert_workload_parity(WorkloadKind::Vm, 6, SmallParams::new(4, 12).build());
}

/// 42 AIRs of 2 to 2^7 rows, some of them lower than the skip domain.
#[test]
fn many() {
    assert_workload_parity(WorkloadKind::Many, 7, SmallParams::new(3, 10).build());
}

// ---- random AIR sets ----

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn random_air_sets(shape in air_sets(4, 10)) {
        let engine = engine(shape.params.build());
        let set = shape.build();
        let pk = set.keygen(engine.config()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let ctx = set.proving_ctx(engine.config());
        check_parity(&engine, &pk, &ctx).map_err(TestCaseError::fail)?;
    }
}

/// Two proofs of one input by one engine are the same bytes.
#[test]
fn proofs_repeat() {
    let engine = engine(SmallParams::new(2, 6).build());
    let fixture = MixtureFixture::standard(5, engine.config().clone());
    let (pk, _) = fixture.keygen(&engine);
    let prove = || prove_on(&engine, &pk, &fixture.generate_proving_ctx()).unwrap().encode_to_vec().unwrap();
    assert_eq!(prove(), prove());
}
