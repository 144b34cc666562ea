//! Equal proofs: an engine against upstream's reference engine, on one input.

use openvm_stark_backend::{
    codec::Encode,
    keygen::types::MultiStarkProvingKey,
    proof::Proof,
    prover::{CpuColMajorBackend, DeviceDataTransporter, ProvingContext},
    test_utils::TestFixture,
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, BabyBearPoseidon2RefEngine};
use serde_json::Value;

use super::transcript::SmallestWitness;

/// The engine whose proofs are the measure.
pub type ReferenceEngine = BabyBearPoseidon2RefEngine<SmallestWitness>;

/// Moves key and traces to the engine's device and proves. The error is the engine's, as text.
pub fn prove_on<E: StarkEngine<SC = SC>>(
    engine: &E,
    pk: &MultiStarkProvingKey<SC>,
    ctx: &ProvingContext<CpuColMajorBackend<SC>>,
) -> Result<Proof<SC>, String> {
    let device = engine.device();
    let device_pk = device.transport_pk_to_device(pk);
    let device_ctx = device.transport_proving_ctx_to_device(ctx);
    engine.prove(&device_pk, device_ctx).map_err(|error| format!("{error}"))
}

/// Fails unless `engine` makes, from this input, the very proof that upstream's reference engine
/// makes, and upstream's verifier accepts it. Says where two proofs differ first.
pub fn check_parity<E: StarkEngine<SC = SC>>(
    engine: &E,
    pk: &MultiStarkProvingKey<SC>,
    ctx: &ProvingContext<CpuColMajorBackend<SC>>,
) -> Result<(), String> {
    let reference = ReferenceEngine::new(engine.params().clone());
    let expected = prove_on(&reference, pk, ctx).map_err(|e| format!("reference engine: {e}"))?;
    let proof = prove_on(engine, pk, ctx).map_err(|e| format!("engine: {e}"))?;
    if let Some(difference) = first_difference(&proof, &expected) {
        return Err(format!("the proofs differ at {difference}"));
    }
    let bytes = |proof: &Proof<SC>| proof.encode_to_vec().map_err(|e| format!("encode: {e}"));
    if bytes(&proof)? != bytes(&expected)? {
        return Err("equal proofs have different encodings".to_string());
    }
    engine.verify(&pk.get_vk(), &proof).map_err(|e| format!("verifier: {e}"))
}

/// [`check_parity`] for one of upstream's fixtures.
pub fn assert_fixture_parity<E, X>(engine: &E, fixture: &X)
where
    E: StarkEngine<SC = SC>,
    X: TestFixture<SC>,
{
    let (pk, _) = fixture.keygen(engine);
    if let Err(error) = check_parity(engine, &pk, &fixture.generate_proving_ctx()) {
        panic!("{error}\nparameters: {:?}", engine.params());
    }
}

/// Where two proofs differ first, in the order of their fields, as `path: this, not that`.
pub fn first_difference(proof: &Proof<SC>, expected: &Proof<SC>) -> Option<String> {
    let value = |proof| serde_json::to_value(proof).expect("proofs are plain data");
    // the order in which the prover makes the fields: what differs first causes what differs later
    const FIELDS: [&str; 7] = [
        "common_main_commit",
        "trace_vdata",
        "public_values",
        "gkr_proof",
        "batch_constraint_proof",
        "stacking_proof",
        "whir_proof",
    ];
    let (ours, theirs) = (value(proof), value(expected));
    FIELDS.iter().find_map(|field| difference_at(field.to_string(), &ours[field], &theirs[field]))
}

fn difference_at(path: String, ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference_at(format!("{path}[{i}]"), a, b))
        }
        (Value::Array(a), Value::Array(b)) => Some(format!("{path}: {} elements, not {}", a.len(), b.len())),
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .find_map(|(name, a)| difference_at(format!("{path}.{name}"), a, b.get(name).unwrap_or(&Value::Null))),
        _ => (ours != theirs).then(|| format!("{path}: {ours}, not {theirs}")),
    }
}
