//! The tests' and examples' own tools, tried on upstream's engines alone: no GPU.

// the examples' support is compiled as they compile it; not all of it is used here
#[allow(dead_code)]
#[path = "../examples/support/mod.rs"]
mod support;

use std::time::Duration;

use openvm_stark_backend::{
    prover::{AirProvingContext, ProvingContext},
    test_utils::{FibFixture, TestFixture},
    FiatShamirTranscript, StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{poseidon2_perm, BabyBearPoseidon2CpuEngine, F};
use p3_field::PrimeCharacteristicRing;
use proptest::{prelude::*, test_runner::TestCaseError};

use openvm_wgpu_testing::{
    cases,
    params::SmallParams,
    parity::{check_parity, first_difference, prove_on, ReferenceEngine},
    random_airs::air_sets,
    transcript::SmallestWitness,
};
use support::{
    record::{bytes, comparison, median, parse_bytes, span_tree, ProofRecord},
    spans::SpanTime,
    workloads::{Workload, WorkloadKind},
};

// ---- the deterministic transcript ----

/// `grind` finds the same witness as trying them one after the other, wherever the sponge is.
#[test]
fn smallest_witness_is_the_smallest() {
    for absorbed in 0..20 {
        let mut transcript = SmallestWitness::from(poseidon2_perm().clone());
        for i in 0..absorbed {
            transcript.observe(F::from_u32(i));
        }
        let smallest = (0..).map(F::from_u32).find(|&witness| transcript.clone().check_witness(9, witness)).unwrap();
        assert_eq!(transcript.grind(9), smallest);
    }
}

/// Without a proof of work the transcript stays as it is.
#[test]
fn no_difficulty_needs_no_witness() {
    let mut transcript = SmallestWitness::from(poseidon2_perm().clone());
    let before = transcript.clone().sample();
    assert_eq!(transcript.grind(0), F::ZERO);
    assert_eq!(transcript.sample(), before);
}

// ---- equal proofs, random AIR sets ----

/// The toy parameters prove for every size of the univariate skip, and upstream's two CPU engines
/// make equal proofs under the deterministic transcript.
#[test]
fn upstream_engines_make_equal_proofs() {
    for l_skip in 0..=9 {
        let params = SmallParams::new(l_skip, 3).build();
        let engine = BabyBearPoseidon2CpuEngine::<SmallestWitness>::new(params);
        let fixture = FibFixture::new(3, 5, 1 << (l_skip + 2));
        let (pk, _) = fixture.keygen(&engine);
        check_parity(&engine, &pk, &fixture.generate_proving_ctx()).unwrap();
    }
}

/// Two proofs that differ are told apart, by the field that differs.
#[test]
fn first_difference_names_the_field() {
    let engine = ReferenceEngine::new(SmallParams::new(2, 3).build());
    let fixture = FibFixture::new(0, 1, 16);
    let (pk, _) = fixture.keygen(&engine);
    let proof = prove_on(&engine, &pk, &fixture.generate_proving_ctx()).unwrap();
    assert_eq!(first_difference(&proof, &proof), None);

    let mut other = proof.clone();
    other.stacking_proof.stacking_openings[0][0] += F::ONE;
    other.whir_proof.final_poly.pop();
    let difference = first_difference(&proof, &other).unwrap();
    assert!(difference.starts_with("stacking_proof.stacking_openings[0][0]"), "{difference}");
}

proptest! {
    #![proptest_config(cases(48))]

    /// Random AIR sets are satisfied by their traces, and equal shapes give equal proofs.
    #[test]
    fn random_air_sets_prove_and_verify(shape in air_sets(5, 10)) {
        let engine = BabyBearPoseidon2CpuEngine::<SmallestWitness>::new(shape.params.build());
        let pk = shape.build().keygen(engine.config()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let ctx = shape.build().proving_ctx(engine.config());
        check_parity(&engine, &pk, &ctx).map_err(TestCaseError::fail)?;
    }
}

// ---- workloads and records ----

/// Each workload's traces satisfy its AIRs.
#[test]
fn workloads_prove_and_verify() {
    for (kind, log_n) in
        [(WorkloadKind::Keccak, 0), (WorkloadKind::Dummy, 5), (WorkloadKind::Vm, 4), (WorkloadKind::Many, 6)]
    {
        let workload = Workload { kind, log_n };
        let params = SmallParams::new(4, 12).build();
        let engine: BabyBearPoseidon2CpuEngine = StarkEngine::new(params);
        let (pk, vk) = engine.keygen(&workload.airs());
        let contexts = workload.traces(7).into_iter().map(AirProvingContext::simple_no_pis);
        let ctx = ProvingContext::new(contexts.enumerate().collect());
        let proof = prove_on(&engine, &pk, &ctx).unwrap();
        engine.verify(&vk, &proof).unwrap_or_else(|e| panic!("{}: {e}", workload.name()));
    }
}

fn span(path: &str, ms: u64, count: u32) -> SpanTime {
    SpanTime { path: path.to_string(), total: Duration::from_millis(ms), count }
}

fn record(prove_ms: f64, spans: Vec<SpanTime>) -> ProofRecord {
    ProofRecord {
        adapter: "llvmpipe".to_string(),
        workload: "keccak".to_string(),
        log_n: 10,
        prove_ms,
        spans,
        verified: true,
        proof_bytes: 859_137,
        host_waits: 8,
        peak_device_bytes: 6 << 30,
        permutations_per_s: Some(11_700.0),
    }
}

#[test]
fn records_survive_json() {
    let mut record = record(87.5, vec![span("prove", 87, 1), span("prove/whir", 15, 3)]);
    assert_eq!(ProofRecord::from_json(&record.to_json()).unwrap(), record);
    record.permutations_per_s = None;
    assert_eq!(ProofRecord::from_json(&record.to_json()).unwrap(), record);

    let mut json = record.to_json();
    json["spans"]["prove"] = serde_json::json!(3);
    let error = ProofRecord::from_json(&json).unwrap_err().to_string();
    assert!(error.contains("prove"), "{error}");
}

#[test]
fn span_tables_show_medians() {
    let runs = [10, 30, 20].map(|ms| record(ms as f64, vec![span("prove", ms, 1), span("prove/whir", ms / 2, 4)]));
    let tree = span_tree(&runs);
    assert_eq!(tree.lines().count(), 2);
    assert!(tree.lines().next().unwrap().trim_start().starts_with("20.000 ms"), "{tree}");
    assert!(tree.contains("10.000 ms    whir  x4"), "{tree}");

    let after = [record(15.0, vec![span("prove", 15, 1), span("prove/gkr", 1, 1)])];
    let table = comparison(&runs, &after).unwrap();
    let prove = table.lines().find(|line| line.ends_with("  prove")).unwrap();
    assert!(prove.contains("20.000") && prove.contains("-5.000") && prove.contains("-25.0%"), "{table}");
    assert!(table.lines().any(|line| line.ends_with("gkr") && line.contains(" - ")), "{table}");
    assert!(table.lines().any(|line| line.ends_with("prove/whir")), "{table}");

    let mut other = after[0].clone();
    other.log_n = 11;
    assert!(comparison(&runs, &[other]).is_err());
    assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median(vec![]), None);
}

#[test]
fn amounts_of_memory() {
    for (text, expected) in [("4GiB", 4 << 30), (" 512 MiB", 512 << 20), ("1.5g", 3 << 29), ("1000", 1000)] {
        assert_eq!(parse_bytes(text), Ok(expected), "{text}");
    }
    for text in ["", "GiB", "4 GB/s", "-1"] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
    assert_eq!(bytes(3 << 29), "1.50 GiB");
    assert_eq!(bytes(12), "12 B");
}
