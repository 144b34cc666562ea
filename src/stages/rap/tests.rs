//! The stage against upstream's `prove_zerocheck_and_logup`.

use openvm_stark_backend::{
    keygen::types::MultiStarkProvingKey,
    prover::{
        prove_zerocheck_and_logup, AirProvingContext, ColMajorMatrix, CpuColMajorBackend, DeviceDataTransporter,
        MatrixDimensions, ProvingContext,
    },
    test_utils::{
        test_system_params_small, CachedFixture11, FibFixture, InteractionsFixture11, MixtureFixture,
        PreprocessedAndCachedFixture, PreprocessedFibFixture, SelfInteractionFixture, TestFixture,
    },
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    default_duplex_sponge, poseidon2_perm, BabyBearPoseidon2Config, BabyBearPoseidon2RefEngine, F,
};

use openvm_wgpu_testing::{
    cases,
    random_airs::air_sets,
    transcript::SmallestWitness,
    workloads::{Workload, WorkloadKind},
};
use proptest::proptest;

use super::*;
use crate::{
    constraints::{compile, PartWidths},
    error::Error,
    gpu::{testing, DeviceMatrix},
    kernels::constraints::{AirEvaluator, EvaluatorPolicy},
};

type HostContext = ProvingContext<CpuColMajorBackend<SC>>;

/// One AIR's traces on the device.
struct DeviceAir {
    evaluator: AirEvaluator,
    preprocessed: Option<DeviceMatrix<F>>,
    cached: Vec<DeviceMatrix<F>>,
    common: DeviceMatrix<F>,
}

fn upload(gpu: &Gpu, matrix: &ColMajorMatrix<F>) -> DeviceMatrix<F> {
    DeviceMatrix::upload(gpu, &matrix.values, matrix.height(), matrix.width(), "trace").unwrap()
}

fn device_air(gpu: &Gpu, pk: &MultiStarkProvingKey<SC>, ctx: &HostContext, at: usize) -> DeviceAir {
    let (index, trace) = &ctx.per_trace[at];
    let pk = &pk.per_air[*index];
    let widths = PartWidths::from(&pk.vk.params);
    let programs = compile(&pk.vk.symbolic_constraints, &widths, pk.vk.params.num_public_values).unwrap();
    DeviceAir {
        evaluator: AirEvaluator::new(gpu, &programs, EvaluatorPolicy::Interpreter, &pk.air_name).unwrap(),
        preprocessed: pk.preprocessed_data.as_ref().map(|data| upload(gpu, &data.mat_view(0).to_matrix())),
        cached: trace.cached_mains.iter().map(|cached| upload(gpu, &cached.trace)).collect(),
        common: upload(gpu, &trace.common_main),
    }
}

fn rap_params(pk: &MultiStarkProvingKey<SC>) -> RapParams {
    RapParams {
        l_skip: pk.params.l_skip,
        max_constraint_degree: pk.max_constraint_degree,
        logup_pow_bits: pk.params.logup.pow_bits,
    }
}

/// Runs `body` on the inputs of the stage.
fn with_input<R>(pk: &MultiStarkProvingKey<SC>, ctx: &HostContext, body: impl FnOnce(Result<RapInput<'_>>) -> R) -> R {
    let gpu = testing::gpu();
    let airs: Vec<_> = (0..ctx.per_trace.len()).map(|at| device_air(&gpu, pk, ctx, at)).collect();
    let inputs = airs.iter().zip(&ctx.per_trace).map(|(air, (index, trace))| {
        let traces = AirTraces {
            preprocessed: air.preprocessed.as_ref(),
            cached: air.cached.iter().collect(),
            common: &air.common,
            packed: None,
            public_values: &trace.public_values,
        };
        AirInput::new(&pk.per_air[*index].vk, &air.evaluator, traces)
    });
    let input = RapInput::new(rap_params(pk), inputs.collect());
    body(input)
}

/// The stage's proof equals upstream's, and so does the transcript afterwards.
fn assert_parity<X: TestFixture<SC>>(params: SystemParams, fixture: &X) {
    let engine = BabyBearPoseidon2RefEngine::<SmallestWitness>::new(params);
    let (pk, _) = fixture.keygen(&engine);
    assert_equal_proofs(&pk, fixture.generate_proving_ctx());
}

fn assert_equal_proofs(pk: &MultiStarkProvingKey<SC>, ctx: HostContext) {
    let engine = BabyBearPoseidon2RefEngine::<SmallestWitness>::new(pk.params.clone());
    let ctx = ctx.into_sorted();
    let mut reference = SmallestWitness::from(poseidon2_perm().clone());
    let device_pk = engine.device().transport_pk_to_device(pk);
    let (gkr, batch, r) = prove_zerocheck_and_logup::<SC, _>(&mut reference, &device_pk, &ctx).unwrap();
    with_input(pk, &ctx, |input| {
        let mut host = default_duplex_sponge();
        let gpu = testing::gpu();
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        let (our_gkr, our_batch, our_r) = prove_rap(&mut tx, &input.unwrap(), || Ok(())).unwrap();
        assert_eq!(our_gkr, gkr);
        assert_eq!(our_batch.numerator_term_per_air, batch.numerator_term_per_air);
        assert_eq!(our_batch.denominator_term_per_air, batch.denominator_term_per_air);
        assert_eq!(our_batch.univariate_round_coeffs, batch.univariate_round_coeffs);
        assert_eq!(our_batch.sumcheck_round_polys, batch.sumcheck_round_polys);
        for (air, (ours, theirs)) in our_batch.column_openings.iter().zip(&batch.column_openings).enumerate() {
            for (part, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_eq!(ours.len(), theirs.len(), "AIR {air}, part {part}");
                let difference = ours.iter().zip(theirs).position(|(a, b)| a != b);
                assert_eq!(difference, None, "opening of AIR {air}, part {part}");
            }
        }
        assert_eq!(our_batch, batch);
        assert_eq!(our_r, r);
        tx.finish().unwrap();
        use openvm_stark_backend::FiatShamirTranscript as Fs;
        assert_eq!(Fs::<SC>::sample(&mut host), Fs::<SC>::sample(&mut reference));
    });
}

fn config(params: &SystemParams) -> SC {
    BabyBearPoseidon2Config::default_from_params(params.clone())
}

#[test]
fn fibonacci_at_all_skips_and_heights() {
    for l_skip in 0..=5 {
        for log_height in [1, 3, 5] {
            let params = test_system_params_small(l_skip, 6 - l_skip, 2);
            assert_parity(params, &FibFixture::new(1, 1, 1 << log_height));
        }
    }
}

#[test]
fn several_fibonacci_airs() {
    assert_parity(test_system_params_small(2, 6, 2), &FibFixture::new_with_num_airs(1, 1, 1 << 5, 5));
}

#[test]
fn interactions() {
    for l_skip in [0, 2, 4, 5] {
        assert_parity(test_system_params_small(l_skip, 8 - l_skip, 2), &InteractionsFixture11);
    }
}

#[test]
fn interactions_within_airs() {
    for (l_skip, log_height) in [(2, 1), (2, 5), (4, 4), (3, 8)] {
        let params = test_system_params_small(l_skip, 10 - l_skip, 2);
        assert_parity(params, &SelfInteractionFixture::new(vec![4, 7, 8, 8, 100], log_height, 4));
    }
}

#[test]
fn cached_and_preprocessed_traces() {
    let params = test_system_params_small(2, 8, 3);
    assert_parity(params.clone(), &CachedFixture11::new(config(&params)));
    let sels: Vec<bool> = (0..32).map(|i| i % 3 == 0).collect();
    assert_parity(params.clone(), &PreprocessedFibFixture::new(7, 3, sels.clone()));
    assert_parity(params.clone(), &PreprocessedAndCachedFixture::new(sels, config(&params), 3));
}

#[test]
fn a_mixture_of_airs_and_heights() {
    for (l_skip, log_height) in [(2, 5), (4, 7), (6, 4)] {
        let params = test_system_params_small(l_skip, 11 - l_skip, 2);
        assert_parity(params.clone(), &MixtureFixture::standard(log_height, config(&params)));
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn random_airs(shape in air_sets(5, 9)) {
        let (set, config) = (shape.build(), config(&shape.params.build()));
        let pk = set.keygen(&config).expect("random AIRs have keys");
        assert_equal_proofs(&pk, set.proving_ctx(&config));
    }
}

#[test]
fn what_has_no_sumcheck_is_an_error() {
    let invalid = |pk: &MultiStarkProvingKey<SC>, ctx: &HostContext| match with_input(pk, ctx, |input| input.err()) {
        Some(Error::InvalidInput(message)) => message,
        other => panic!("{other:?}"),
    };
    let heights = |log_heights: [usize; 2]| -> (MultiStarkProvingKey<SC>, HostContext) {
        let engine = BabyBearPoseidon2RefEngine::<SmallestWitness>::new(test_system_params_small(0, 6, 2));
        let (pk, _) = TestFixture::<SC>::keygen(&FibFixture::new_with_num_airs(1, 1, 1, 2), &engine);
        let airs = log_heights.map(|log_height| {
            let ctx: HostContext = FibFixture::new(1, 1, 1 << log_height).generate_proving_ctx();
            ctx.per_trace.into_iter().next().unwrap().1
        });
        (pk, ProvingContext::new(airs.into_iter().enumerate().collect()))
    };
    let (pk, ctx) = heights([0, 0]);
    assert!(invalid(&pk, &ctx).contains("no variable"));
    let (pk, ctx) = heights([1, 2]);
    assert!(invalid(&pk, &ctx).contains("sorted"));
}

#[test]
fn a_wide_air_of_many_chunks() {
    let workload = Workload { kind: WorkloadKind::Keccak, log_n: 1 };
    let params = test_system_params_small(4, 7, 2);
    let engine = BabyBearPoseidon2RefEngine::<SmallestWitness>::new(params);
    let (pk, _) = engine.keygen(&workload.airs());
    let traces = workload.traces(1).into_iter().enumerate();
    let contexts = traces.map(|(air, trace)| (air, AirProvingContext::simple_no_pis(trace)));
    assert_equal_proofs(&pk, ProvingContext::new(contexts.collect()));
}
