//! What was tampered with never verifies.

mod device;

use std::panic::{catch_unwind, AssertUnwindSafe};

use openvm_stark_backend::{
    codec::{Decode, Encode},
    keygen::types::MultiStarkProvingKey,
    proof::Proof,
    prover::{AirProvingContext, CpuColMajorBackend, ProvingContext},
    test_utils::{
        CachedFixture11, FibFixture, InteractionsFixture11, MixtureFixture, PreprocessedFibFixture, TestFixture,
    },
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use p3_field::PrimeCharacteristicRing;
use rand::{rngs::StdRng, Rng, SeedableRng};

use device::{engine, Engine};
use openvm_wgpu_testing::workloads::{Workload, WorkloadKind};
use openvm_wgpu_testing::{
    params::SmallParams,
    parity::{prove_on, ReferenceEngine},
};

type Context = ProvingContext<CpuColMajorBackend<SC>>;

/// Toy parameters with eleven variables and several WHIR rounds.
fn params() -> SmallParams {
    SmallParams { k_whir: 3, whir_rounds: 3, ..SmallParams::new(3, 8) }
}

/// Whether a proof of this context comes about and verifies.
fn proves(engine: &Engine, pk: &MultiStarkProvingKey<SC>, ctx: &Context) -> bool {
    prove_on(engine, pk, ctx).is_ok_and(|proof| engine.verify(&pk.get_vk(), &proof).is_ok())
}

/// The key of `fixture`, after a check that it proves untouched.
fn key<X: TestFixture<SC>>(engine: &Engine, fixture: &X) -> MultiStarkProvingKey<SC> {
    let (pk, _) = fixture.keygen(engine);
    assert!(proves(engine, &pk, &fixture.generate_proving_ctx()), "proves before it is tampered with");
    pk
}

// ---- traces ----

/// Adds one to a cell of the common main of the AIR at `trace`.
fn flip(ctx: &mut Context, trace: usize, cell: usize) {
    ctx.per_trace[trace].1.common_main.values[cell] += F::ONE;
}

#[test]
fn flipped_cells_of_a_fibonacci_trace() {
    let engine = engine(params().build());
    let fixture = FibFixture::new(0, 1, 32);
    let pk = key(&engine, &fixture);
    for cell in [0, 1, 17, 31, 32, 33, 50, 63] {
        let mut ctx: Context = fixture.generate_proving_ctx();
        flip(&mut ctx, 0, cell);
        assert!(!proves(&engine, &pk, &ctx), "cell {cell}");
    }
}

#[test]
fn flipped_cells_next_to_a_preprocessed_trace() {
    let engine = engine(params().build());
    let fixture = PreprocessedFibFixture::new(1, 1, vec![true; 16]);
    let pk = key(&engine, &fixture);
    for cell in [0, 7, 15, 16, 31] {
        let mut ctx: Context = fixture.generate_proving_ctx();
        flip(&mut ctx, 0, cell);
        assert!(!proves(&engine, &pk, &ctx), "cell {cell}");
    }
}

/// In a trace with thousands of columns: random cells of those that the constraints bind.
#[test]
fn flipped_cells_of_a_keccak_trace() {
    let workload = Workload { kind: WorkloadKind::Keccak, log_n: 0 };
    let engine = engine(SmallParams { max_constraint_degree: 3, ..params() }.build());
    let (pk, _) = engine.keygen(&workload.airs());
    let trace = workload.traces(1).remove(0);
    let context = |trace| ProvingContext::new(vec![(0, AirProvingContext::simple_no_pis(trace))]);
    assert!(proves(&engine, &pk, &context(trace.clone())));
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..4 {
        let mut tampered = trace.clone();
        let cell = rng.random_range(0..tampered.values.len());
        tampered.values[cell] += F::ONE;
        assert!(!proves(&engine, &pk, &context(tampered)), "cell {cell}");
    }
}

/// The commitment to a cached main is not to the trace that is proved.
#[test]
fn flipped_cell_of_a_cached_main() {
    let engine = engine(params().build());
    let fixture = CachedFixture11::new(engine.config().clone());
    let pk = key(&engine, &fixture);
    for cell in 0..2 {
        let mut ctx = fixture.generate_proving_ctx();
        ctx.per_trace[0].1.cached_mains[0].trace.values[cell] += F::ONE;
        assert!(!proves(&engine, &pk, &ctx), "cell {cell}");
    }
}

// ---- public values and buses ----

#[test]
fn wrong_public_values() {
    let engine = engine(params().build());
    let fixture = FibFixture::new(0, 1, 32);
    let pk = key(&engine, &fixture);
    for value in 0..3 {
        let mut ctx: Context = fixture.generate_proving_ctx();
        ctx.per_trace[0].1.public_values[value] += F::ONE;
        assert!(!proves(&engine, &pk, &ctx), "public value {value}");
    }
}

/// The public values of a good proof are part of what it proves.
#[test]
fn wrong_public_values_in_a_proof() {
    let engine = engine(params().build());
    let fixture = FibFixture::new(0, 1, 32);
    let pk = key(&engine, &fixture);
    let proof = prove_on(&engine, &pk, &fixture.generate_proving_ctx()).unwrap();
    for value in 0..3 {
        let mut other = proof.clone();
        other.public_values[0][value] += F::ONE;
        assert!(engine.verify(&pk.get_vk(), &other).is_err(), "public value {value}");
    }
}

/// `prove` refuses where upstream's engine refuses: a message or a count that nobody receives.
#[test]
fn unbalanced_buses() {
    let engine = engine(params().build());
    let reference = ReferenceEngine::new(engine.params().clone());
    let fixture = InteractionsFixture11;
    let pk = key(&engine, &fixture);
    // (the receiver's last row receives nothing, whatever its message)
    for (trace, cell) in [(0, 1), (0, 5), (1, 0), (1, 14)] {
        let mut ctx: Context = fixture.generate_proving_ctx();
        flip(&mut ctx, trace, cell);
        assert!(prove_on(&reference, &pk, &ctx).is_err(), "upstream proves with cell {cell} of trace {trace}");
        let Err(error) = prove_on(&engine, &pk, &ctx) else { panic!("proves with cell {cell} of trace {trace}") };
        assert!(error.to_lowercase().contains("interaction"), "{error}");
    }
    // the sender alone
    let mut ctx: Context = fixture.generate_proving_ctx();
    ctx.per_trace.truncate(1);
    assert!(prove_on(&reference, &pk, &ctx).is_err());
    assert!(prove_on(&engine, &pk, &ctx).is_err());
    assert!(proves(&engine, &pk, &fixture.generate_proving_ctx()), "usable after the errors");
}

// ---- proofs ----

/// Positions of an encoded proof to flip: the first ones, which hold the shape, and one in every few of the rest.
fn positions(len: usize, rng: &mut StdRng) -> Vec<usize> {
    const REST: usize = 500;
    let rest = (0..REST).map(|i| rng.random_range(i * len / REST..((i + 1) * len / REST).max(i * len / REST + 1)));
    (0..80.min(len)).chain(rest).collect()
}

/// Decodes and verifies. A proof that makes upstream's verifier panic is not accepted either.
fn accepted(engine: &Engine, pk: &MultiStarkProvingKey<SC>, bytes: &[u8]) -> bool {
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        Proof::<SC>::decode_from_bytes(bytes).is_ok_and(|proof| engine.verify(&pk.get_vk(), &proof).is_ok())
    }));
    verdict.unwrap_or(false)
}

#[test]
fn flipped_bytes_of_a_proof() {
    let engine = engine(params().build());
    let fixture = MixtureFixture::standard(6, engine.config().clone());
    let pk = key(&engine, &fixture);
    let proof = prove_on(&engine, &pk, &fixture.generate_proving_ctx()).unwrap();
    let bytes = proof.encode_to_vec().unwrap();
    assert!(accepted(&engine, &pk, &bytes));
    let mut rng = StdRng::seed_from_u64(3);
    for position in positions(bytes.len(), &mut rng) {
        let mut tampered = bytes.clone();
        tampered[position] ^= rng.random_range(1..=255u8);
        assert!(!accepted(&engine, &pk, &tampered), "byte {position} of {}", bytes.len());
    }
    for len in [0, 4, bytes.len() / 2, bytes.len() - 1] {
        assert!(!accepted(&engine, &pk, &bytes[..len]), "cut to {len} bytes");
    }
}

/// A proof is bound to its verifying key.
#[test]
fn proof_of_another_key() {
    let engine = engine(params().build());
    let fixture = PreprocessedFibFixture::new(1, 1, vec![true; 16]);
    let other = PreprocessedFibFixture::new(1, 1, [vec![true; 15], vec![false]].concat());
    let (pk, other_pk) = (key(&engine, &fixture), key(&engine, &other));
    let proof = prove_on(&engine, &pk, &fixture.generate_proving_ctx()).unwrap();
    assert!(engine.verify(&pk.get_vk(), &proof).is_ok());
    assert!(engine.verify(&other_pk.get_vk(), &proof).is_err());
}
