//! The transcript on the device: permutations per second in sequence, and in grinding.
//!
//! Floors: one after the other, a permutation takes a subgroup of an H200 2.1 to 2.5 us (0.4 to 0.48 M/s), and each dispatch 1.8 us more.
//! Grinding is parallel: 3.0 G permutations/s on an H200, 2.0 M/s on lavapipe with two cores.

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, F};
use openvm_wgpu_backend::internals::{
    gpu::Gpu,
    kernels::transcript::{Absorption, DeviceSponge, Witnesses},
    stages::transcript::SpongeTranscript,
};
use support::{filled, gpu, log_size, time};

/// Words of one long observation.
const WORDS: usize = 1 << 12;

/// Rounds of one sumcheck.
const ROUNDS: usize = 64;

/// The sponge of a fresh transcript.
fn sponge(gpu: &Gpu) -> DeviceSponge {
    let sponge = default_duplex_sponge().sponge();
    let state = gpu.upload(&sponge.state, "sponge").expect("memory");
    DeviceSponge { state, absorb_index: sponge.absorb_index, sample_index: sponge.sample_index }
}

fn sequence(c: &mut Criterion) {
    let gpu = gpu();
    let mut sponge = sponge(&gpu);
    let (values, tape) = (filled(&gpu, WORDS), filled::<F>(&gpu, WORDS));
    let absorb = |len| Absorption { source: &values, from: 0, len, integers: false };
    let mut group = c.benchmark_group("transcript");
    // a permutation for 8 words
    group.throughput(Throughput::Elements((WORDS / 8) as u64));
    group.bench_function(format!("observe {WORDS} words"), |b| {
        time(b, &gpu, |rec| sponge.step(rec, absorb(WORDS), 0, (&tape, 0)).expect("recorded"));
    });
    // three evaluations are 12 words: a permutation when the rate is full, and one to sample
    group.throughput(Throughput::Elements(2 * ROUNDS as u64));
    group.bench_function(format!("{ROUNDS} steps between rounds of a sumcheck"), |b| {
        time(b, &gpu, |rec| (0..ROUNDS).for_each(|_| sponge.step(rec, absorb(12), 4, (&tape, 0)).expect("recorded")));
    });
    group.finish();
}

fn grinding(c: &mut Criterion) {
    let gpu = gpu();
    let log_candidates = log_size(&gpu, "OPENVM_WGPU_BENCH_LOG_CANDIDATES", 24, 16);
    let sponge = sponge(&gpu);
    let mut group = c.benchmark_group("proof of work");
    group.sample_size(10);
    // a permutation for each candidate; of 30 bits, so that none of them passes and the place stays as it is
    let (witnesses, at) = Witnesses::default().place(&gpu).expect("memory");
    group.throughput(Throughput::Elements(1 << log_candidates));
    group.bench_function(format!("2^{log_candidates} candidates"), |b| {
        time(b, &gpu, |rec| sponge.grind(rec, 30, 1 << log_candidates, (&witnesses, at)).expect("recorded"));
    });
    group.finish();
}

criterion_group!(benches, sequence, grinding);
criterion_main!(benches);
