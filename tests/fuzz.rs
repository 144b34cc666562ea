//! Text, files and contexts that nobody made by hand: every one has an answer, without a panic and within bounds.
//!
//! A run tries a fixed number of mutants; `OPENVM_WGPU_FUZZ_SECONDS` has each target go on for so long. `tests/corpus` has what they start from,
//! and what once failed.

mod device;
// not all of it is used here
#[allow(dead_code)]
#[path = "../examples/support/mod.rs"]
mod support;

use std::path::Path;

use openvm_stark_backend::{
    prover::{AirProvingContext, ColMajorMatrix, CpuColMajorBackend, ProvingContext},
    test_utils::{
        CachedFixture11, FibFixture, InteractionsFixture11, MixtureFixture, PreprocessedFibFixture, TestFixture,
    },
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use device::{engine, Engine};
use openvm_wgpu_backend::internals::gpu::as_words_mut;
use openvm_wgpu_testing::{
    fuzz::{self, End},
    params::SmallParams,
    parity::prove_on,
};
use support::record::{bytes, parse_bytes, ProofRecord};

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"))
}

#[test]
fn amounts_of_memory() {
    fuzz::bytes(corpus(), "amounts", &[b"1.5 GiB", b"512MiB", b"1000"], 20_000, |text| {
        let Ok(text) = std::str::from_utf8(text) else { return };
        if let Ok(amount) = parse_bytes(text) {
            assert!(!bytes(amount).is_empty());
        }
    });
}

#[test]
fn records() {
    let record = serde_json::to_vec(
        &ProofRecord {
            adapter: "card".into(),
            workload: "keccak".into(),
            log_n: 10,
            prove_ms: 28.5,
            spans: vec![],
            verified: true,
            proof_bytes: 1 << 20,
            host_waits: 6,
            peak_device_bytes: 1 << 30,
            permutations_per_s: Some(35_900.0),
        }
        .to_json(),
    );
    fuzz::bytes(corpus(), "records", &[&record.expect("records are JSON")], 20_000, |text| {
        let Ok(value) = serde_json::from_slice(text) else { return };
        if let Ok(record) = ProofRecord::from_json(&value) {
            let again = ProofRecord::from_json(&record.to_json());
            assert_eq!(again.expect("what is written is read").to_json(), record.to_json());
        }
    });
}

// ---- contexts against keys ----

type Context = ProvingContext<CpuColMajorBackend<SC>>;

fn copy(trace: &AirProvingContext<CpuColMajorBackend<SC>>) -> AirProvingContext<CpuColMajorBackend<SC>> {
    let AirProvingContext { cached_mains, common_main, public_values } = trace;
    AirProvingContext {
        cached_mains: cached_mains.clone(),
        common_main: common_main.clone(),
        public_values: public_values.clone(),
    }
}

fn copies(ctx: &Context) -> Context {
    ProvingContext::new(ctx.per_trace.iter().map(|(air, trace)| (*air, copy(trace))).collect())
}

/// A change of a context, of any kind.
fn change(ctx: &mut Context, others: &[Context], rng: &mut StdRng) {
    if ctx.per_trace.is_empty() {
        return;
    }
    let at = rng.random_range(0..ctx.per_trace.len());
    let other = &others[rng.random_range(0..others.len())].per_trace;
    let other = &other[rng.random_range(0..other.len())].1;
    let air = ctx.per_trace[at].0;
    let trace = &mut ctx.per_trace[at].1;
    match rng.random_range(0..12) {
        0 => ctx.per_trace[at].0 = rng.random_range(0..5),
        1 => ctx.per_trace[at].0 = usize::MAX,
        2 => _ = ctx.per_trace.remove(at),
        3 => ctx.per_trace.swap(0, at),
        4 => trace.common_main = other.common_main.clone(),
        5 => trace.cached_mains = other.cached_mains.clone(),
        6 => trace.public_values = other.public_values.clone(),
        7 => _ = trace.public_values.pop(),
        8 => _ = trace.common_main.values.pop(),
        9 => {
            let (height, width) = (1 << rng.random_range(0..8), rng.random_range(1..6));
            trace.common_main = ColMajorMatrix::new(F::zero_vec(height * width), width);
        }
        10 => {
            if let Some(cell) = as_words_mut(&mut trace.common_main.values).last_mut() {
                *cell = cell.wrapping_add(F::ORDER_U32);
            }
        }
        _ => {
            let again = copy(&ctx.per_trace[at].1);
            ctx.per_trace.push((air, again));
        }
    }
}

/// An error, or a proof that verifies or does not; the unchanged context proves in between.
#[test]
fn contexts_against_keys() {
    let engine: Engine = engine(SmallParams::new(2, 4).build());
    let config = || engine.config().clone();
    let fixtures: [(_, Context); 5] = [
        pair(&engine, &FibFixture::new(0, 1, 16)),
        pair(&engine, &PreprocessedFibFixture::new(0, 1, vec![true; 8])),
        pair(&engine, &InteractionsFixture11),
        pair(&engine, &CachedFixture11::new(config())),
        pair(&engine, &MixtureFixture::standard(4, config())),
    ];
    let contexts: Vec<Context> = fixtures.iter().map(|(_, ctx)| copies(ctx)).collect();
    let (mut rng, mut count, mut proofs, mut accepted) = (StdRng::seed_from_u64(13), 0, 0, 0);
    let end = End::from_env(60);
    while end.goes_on(count) {
        let ((pk, vk), original) = &fixtures[rng.random_range(0..fixtures.len())];
        let mut ctx = copies(original);
        for _ in 0..rng.random_range(1..4) {
            change(&mut ctx, &contexts, &mut rng);
        }
        count += 1;
        let Ok(proof) = prove_on(&engine, pk, &ctx) else { continue };
        proofs += 1;
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| engine.verify(vk, &proof).is_ok()));
        accepted += usize::from(verdict.unwrap_or(false));
    }
    for ((pk, vk), ctx) in &fixtures {
        let proof = prove_on(&engine, pk, ctx).expect("the engine proves on");
        engine.verify(vk, &proof).expect("the proof verifies");
    }
    println!("contexts: {count} mutants, {proofs} proved, {accepted} of the proofs verify");
}

type Keys = (
    openvm_stark_backend::keygen::types::MultiStarkProvingKey<SC>,
    openvm_stark_backend::keygen::types::MultiStarkVerifyingKey<SC>,
);

fn pair<X: TestFixture<SC>>(engine: &Engine, fixture: &X) -> (Keys, Context) {
    (fixture.keygen(engine), fixture.generate_proving_ctx())
}

#[cfg(feature = "openvm")]
mod openvm {
    use std::sync::Arc;

    use openvm_sdk::{
        config::{AggregationSystemParams, AppConfig},
        keygen::AppProvingKey,
    };
    use openvm_sdk_config::SdkVmConfig;
    use openvm_wgpu_backend::openvm::{decode_elf, transpile, AppProver, WgpuSdk};

    use super::*;

    const ELF: &[u8] = include_bytes!("../examples/guest/hash_chain.elf");
    const TOML: &[u8] = include_bytes!("../examples/guest/hash_chain.toml");

    /// From the file to the first instruction.
    #[test]
    fn elfs() {
        let params = SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build();
        let config = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
        let key = AppProvingKey::keygen(AppConfig::new(config, params)).expect("keys of a VM");
        let sdk: WgpuSdk =
            WgpuSdk::builder().app_pk(key).agg_params(AggregationSystemParams::default()).build().expect("an SDK");
        let (decoded, programs) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        fuzz::bytes(corpus(), "elf", &[ELF], 400, |bytes| {
            let Ok(elf) = decode_elf(bytes) else { return };
            decoded.set(decoded.get() + 1);
            let Ok(exe) = transpile(&sdk, elf) else { return };
            programs.set(programs.get() + 1);
            // a program's commitment takes a device a while
            if programs.get() % 16 == 1 {
                let _ = AppProver::new(&sdk, Arc::clone(&exe)).map(|prover| prover.exe().program.len());
            }
        });
        println!("elf: {} decoded, {} transpiled", decoded.get(), programs.get());
    }

    #[test]
    fn configurations() {
        fuzz::bytes(corpus(), "toml", &[TOML], 4_000, |text| {
            let Ok(text) = std::str::from_utf8(text) else { return };
            let _ = SdkVmConfig::from_toml(text).map(|config| config.keccak.is_some());
        });
    }
}
