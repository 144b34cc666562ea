//! Thousands of seeded mutants: of proofs, none of which the verifier accepts, and of traces and public values, none of which gives a proof
//! that it accepts.

mod device;

use std::panic::{catch_unwind, AssertUnwindSafe};

use openvm_stark_backend::{
    codec::{Decode, Encode},
    keygen::types::MultiStarkVerifyingKey,
    proof::Proof,
    prover::{AirProvingContext, CpuColMajorBackend, ProvingContext},
    test_utils::{FibFixture, PreprocessedFibFixture, SelfInteractionFixture, TestFixture},
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_wgpu_backend::{
    internals::gpu::{as_words_mut, testing::gpu},
    WgpuDeviceBuilder,
};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use device::{engine, Engine};
use openvm_wgpu_testing::{
    params::SmallParams,
    parity::prove_on,
    workloads::{Workload, WorkloadKind},
};

/// Mutants of proofs, and of traces.
const PROOFS: usize = 2_000;
const TRACES: usize = 500;

type Vk = MultiStarkVerifyingKey<SC>;

/// Takes a field of another proof.
type Swap = fn(&mut Proof<SC>, &Proof<SC>);

/// A proof that makes upstream's verifier panic is not accepted.
fn accepts(engine: &Engine, vk: &Vk, proof: &Proof<SC>) -> bool {
    catch_unwind(AssertUnwindSafe(|| engine.verify(vk, proof).is_ok())).unwrap_or(false)
}

fn accepts_bytes(engine: &Engine, vk: &Vk, bytes: &[u8]) -> bool {
    let decoded = catch_unwind(|| Proof::<SC>::decode_from_bytes(bytes).ok()).unwrap_or(None);
    decoded.is_some_and(|proof| accepts(engine, vk, &proof))
}

/// Another text of the same length or a little more or less.
fn mutate(bytes: &[u8], other: &[u8], rng: &mut StdRng) -> (Vec<u8>, String) {
    let mut mutant = bytes.to_vec();
    let at = rng.random_range(0..bytes.len());
    let word = at.min(bytes.len() - 4);
    let what = match rng.random_range(0..8) {
        0 => {
            mutant[at] ^= 1 << rng.random_range(0..8);
            format!("a bit of byte {at}")
        }
        1 => {
            mutant[at] ^= rng.random_range(1..=255u8);
            format!("byte {at}")
        }
        2 => {
            // the same field element for who reduces
            let value = u32::from_le_bytes(mutant[word..word + 4].try_into().unwrap());
            mutant[word..word + 4].copy_from_slice(&value.wrapping_add(F::ORDER_U32).to_le_bytes());
            format!("the word at {word} plus p")
        }
        3 => {
            mutant.truncate(at);
            format!("cut to {at}")
        }
        4 => {
            let tail = rng.random_range(1..40);
            mutant.extend((0..tail).map(|_| rng.random::<u8>()));
            format!("{tail} trailing bytes")
        }
        5 => {
            let len = rng.random_range(1..64).min(bytes.len() - at);
            mutant.drain(at..at + len);
            format!("{len} bytes at {at} left out")
        }
        6 => {
            let at = at.min(other.len());
            let len = rng.random_range(4..400).min(bytes.len() - at).min(other.len() - at);
            mutant[at..at + len].copy_from_slice(&other[at..at + len]);
            format!("{len} bytes at {at} of another proof")
        }
        _ => {
            let from = rng.random_range(0..bytes.len() - 4);
            mutant.copy_within(from..from + 4, word);
            format!("the word at {from} moved to {word}")
        }
    };
    (mutant, what)
}

#[test]
fn mutants_of_proofs_are_rejected() {
    let engine = engine(SmallParams { k_whir: 3, whir_rounds: 3, ..SmallParams::new(3, 8) }.build());
    let workload = |log_n| Workload { kind: WorkloadKind::Dummy, log_n };
    let (pk, vk) = engine.keygen(&[FibFixture::new(0, 1, 1).airs(), workload(0).airs()].concat());
    // public values, and a bus
    let prove = |log_n: usize, seed: u64| {
        let mut ctx = FibFixture::new(seed, 1, 1 << log_n).generate_proving_ctx();
        let traces = workload(log_n).traces(seed).into_iter().map(AirProvingContext::simple_no_pis);
        ctx.per_trace.extend((1..).zip(traces));
        prove_on(&engine, &pk, &ctx).unwrap()
    };
    let (proof, second) = (prove(6, 1), prove(5, 2));
    let (bytes, others) = (proof.encode_to_vec().unwrap(), second.encode_to_vec().unwrap());
    assert!(accepts_bytes(&engine, &vk, &bytes) && accepts_bytes(&engine, &vk, &others));
    let mut rng = StdRng::seed_from_u64(13);
    let (mut tried, mut decoded) = (0, 0);
    while tried < PROOFS {
        let (mutant, what) = mutate(&bytes, &others, &mut rng);
        if mutant == bytes {
            continue;
        }
        tried += 1;
        decoded += usize::from(catch_unwind(|| Proof::<SC>::decode_from_bytes(&mutant).is_ok()).unwrap_or(false));
        assert!(!accepts_bytes(&engine, &vk, &mutant), "mutant {tried}: {what}");
    }
    println!("{tried} mutants of a proof, {decoded} of them decoded");
    // whole fields of another proof of the same key
    let swaps: [Swap; 6] = [
        |a, b| a.common_main_commit = b.common_main_commit,
        |a, b| a.trace_vdata = b.trace_vdata.clone(),
        |a, b| a.gkr_proof = b.gkr_proof.clone(),
        |a, b| a.batch_constraint_proof = b.batch_constraint_proof.clone(),
        |a, b| a.stacking_proof = b.stacking_proof.clone(),
        |a, b| a.whir_proof = b.whir_proof.clone(),
    ];
    for (field, swap) in swaps.iter().enumerate() {
        let mut mutant = proof.clone();
        swap(&mut mutant, &second);
        assert!(!accepts(&engine, &vk, &mutant), "field {field} of another proof");
    }
}

/// Whole proofs, verified with the keys of other programs, and of the same AIRs under other parameters.
#[test]
fn proofs_of_another_key_are_rejected() {
    let params = || SmallParams::new(2, 4);
    let engines =
        [params(), SmallParams { max_constraint_degree: 4, ..params() }, SmallParams { log_blowup: 2, ..params() }]
            .map(|params| engine(params.build()));
    let fixtures: [&dyn Provable; 4] = [
        &FibFixture::new(0, 1, 16),
        &PreprocessedFibFixture::new(1, 1, vec![true; 16]),
        &PreprocessedFibFixture::new(1, 1, [vec![true; 8], vec![false; 8]].concat()),
        &SelfInteractionFixture { widths: vec![4, 9], log_height: 4, bus_index: 1 },
    ];
    let proofs: Vec<_> =
        engines.iter().flat_map(|engine| fixtures.iter().map(move |fixture| (engine, fixture.prove(engine)))).collect();
    let mut rejected = 0;
    for (i, (engine, (vk, _))) in proofs.iter().enumerate() {
        for (j, (_, (_, proof))) in proofs.iter().enumerate() {
            assert_eq!(accepts(engine, vk, proof), i == j, "proof {j} with key {i}");
            rejected += usize::from(i != j);
        }
    }
    println!("{rejected} proofs with another key");
}

/// Fixtures of any type.
trait Provable: Sync {
    fn prove(&self, engine: &Engine) -> (Vk, Proof<SC>);
}

impl<X: TestFixture<SC> + Sync> Provable for X {
    fn prove(&self, engine: &Engine) -> (Vk, Proof<SC>) {
        let (pk, vk) = self.keygen(engine);
        (vk, prove_on(engine, &pk, &self.generate_proving_ctx()).expect("the fixture is proved"))
    }
}

#[test]
fn mutants_of_traces_give_no_proof() {
    // so that the test's own verifier has its say
    let builder = WgpuDeviceBuilder::new().verify_before_return(false);
    let device = builder.build_on(gpu(), SmallParams::new(2, 4).build()).expect("parameters in range");
    let engine = Engine::from_device(device);
    let plain = FibFixture::new(0, 1, 16);
    let preprocessed = PreprocessedFibFixture::new(1, 1, vec![true; 16]);
    let keys = [plain.keygen(&engine), preprocessed.keygen(&engine)];
    let mut rng = StdRng::seed_from_u64(14);
    let (mut proofs, mut words) = (0, 0);
    for mutant in 0..TRACES {
        let (pk, vk) = &keys[mutant % 2];
        let mut ctx: ProvingContext<CpuColMajorBackend<SC>> = match mutant % 2 {
            0 => plain.generate_proving_ctx(),
            _ => preprocessed.generate_proving_ctx(),
        };
        let trace = &mut ctx.per_trace[0].1;
        let (values, what) = match rng.random_range(0..4) {
            0 => (&mut trace.public_values, "public value"),
            _ => (&mut trace.common_main.values, "cell"),
        };
        let at = rng.random_range(0..values.len());
        // one in eight is the same element, by a word that stands for none
        let is_word = rng.random_range(0..8) == 0;
        match is_word {
            true => as_words_mut(&mut values[at..=at])[0] += F::ORDER_U32,
            false => values[at] += F::from_u32(rng.random_range(1..F::ORDER_U32)),
        }
        let found = values[at];
        match prove_on(&engine, pk, &ctx) {
            Ok(proof) => {
                assert!(!is_word, "mutant {mutant}: {what} {at} is not below p, and was proved");
                assert!(!accepts(&engine, vk, &proof), "mutant {mutant}: {what} {at} is {found}");
                proofs += 1;
            }
            Err(error) if is_word => {
                assert!(error.contains("not below p"), "{error}");
                words += 1;
            }
            Err(_) => {}
        }
    }
    let errors = TRACES - proofs;
    println!("{TRACES} mutants of traces and public values: {errors} errors, {words} of words not below p; {proofs} rejected proofs");
    assert!(words > 0 && proofs > 0);
}
