//! The fractional sumcheck: leaves per second, from the fractions of the leaves to the proof on the host.
//!
//! `OPENVM_WGPU_BENCH_LOG_LEAVES` sets log2 of the largest number of leaves (24; 16 on software adapters). The floor at 2^24 leaves on an
//! H200 is 1 ms for 250 bytes a leaf, 1 ms for 15 extension products a leaf, and 1.3 ms for the sponge's 552 permutations in sequence.

mod support;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::default_duplex_sponge;
use openvm_wgpu_backend::internals::{
    gpu::Gpu,
    stages::{
        gkr::{fractional_sumcheck, Fractions},
        transcript::Transcript,
    },
};

/// Fractions whose sum is of no interest: the proof is recorded all the same.
fn leaves(gpu: &Gpu, log_len: usize) -> Fractions {
    let mut leaves = Fractions::alloc_leaves(gpu, log_len, 1 << log_len).expect("memory");
    let values = support::ext(leaves.piece_len());
    let numerators = gpu.upload(&values[..leaves.piece_len() / 4], "numerators").expect("memory").cast();
    let denominators = gpu.upload(&values, "denominators").expect("memory");
    leaves.numer.fill(numerators);
    leaves.denom.fill(denominators);
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
    let gpu = support::gpu();
    let max = support::log_size(&gpu, "OPENVM_WGPU_BENCH_LOG_LEAVES", 24, 16);
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
