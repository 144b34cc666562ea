//! The fractional sumcheck: leaves per second, from the fractions of the leaves to the proof on the host.
//!
//! `OPENVM_WGPU_BENCH_LOG_LEAVES` sets log2 of the largest number of leaves (24; 16 on software adapters). The floor at 2^24 leaves on an
//! H200 is 1 ms for 250 bytes a leaf, 1 ms for 15 extension products a leaf, and 1.3 ms for the sponge's 552 permutations in sequence.

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, EF, F};
use openvm_wgpu_backend::{
    gpu::{Gpu, GpuOptions},
    stages::{
        gkr::{fractional_sumcheck, Fractions},
        transcript::Transcript,
    },
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

fn max_log_leaves(gpu: &Gpu) -> usize {
    let chosen = std::env::var("OPENVM_WGPU_BENCH_LOG_LEAVES").ok().and_then(|value| value.parse().ok());
    chosen.unwrap_or(if gpu.capabilities().software { 16 } else { 24 })
}

/// Fractions whose sum is of no interest: the proof is recorded all the same.
fn leaves(gpu: &Gpu, log_len: usize) -> Fractions {
    let leaves = Fractions::alloc(gpu, log_len).expect("memory");
    let values: Vec<EF> = (0..leaves.piece_len())
        .map(|i| EF::from_basis_coefficients_fn(|k| F::from_usize(i) * F::from_usize(k + 3) + F::ONE))
        .collect();
    let mut rec = gpu.recorder("bench");
    for piece in leaves.numer.iter().chain(&leaves.denom) {
        rec.write(piece, 0, &values);
        rec.submit().expect("upload");
    }
    leaves
}

fn prove(gpu: &Gpu, leaves: Fractions) {
    let mut sponge = default_duplex_sponge();
    let mut tx = Transcript::new(gpu, &mut sponge).expect("memory");
    let mut rec = gpu.recorder("bench");
    fractional_sumcheck(&mut tx, &mut rec, leaves).expect("recorded");
    tx.sync(rec).expect("device");
}

fn sumchecks(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions::default()).expect("adapter");
    let max = max_log_leaves(&gpu);
    let mut group = c.benchmark_group("fractional sumcheck");
    group.sample_size(10);
    for log_len in (max.saturating_sub(8)..=max).step_by(2) {
        let leaves = leaves(&gpu, log_len);
        group.throughput(Throughput::Elements(1 << log_len));
        group.bench_with_input(BenchmarkId::from_parameter(format!("2^{log_len}")), &leaves, |b, leaves| {
            b.iter(|| prove(&gpu, leaves.clone()));
        });
    }
    group.finish();
}

criterion_group!(benches, sumchecks);
criterion_main!(benches);
