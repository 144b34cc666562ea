//! Commitment kernels: bytes or permutations per second, to hold against the rates of the device.
//!
//! `OPENVM_WGPU_BENCH_LOG_HEIGHT` sets log2 of the stacked height (21 as keccakf has it; 14 on software adapters).

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use openvm_wgpu_backend::{
    gpu::{DeviceBuffer, DeviceMatrix, Element, Gpu, GpuOptions, Recorder},
    kernels::{
        merkle::{MerkleTree, Panel, RowSponges},
        ntt::{self, Direction, Run, Shape},
    },
    stages::pcs::{commit, CommitParams},
};
use p3_field::PrimeCharacteristicRing;

const L_SKIP: usize = 4;
const WIDTH: usize = 42;

fn log_height(gpu: &Gpu) -> usize {
    let chosen = std::env::var("OPENVM_WGPU_BENCH_LOG_HEIGHT").ok().and_then(|value| value.parse().ok());
    chosen.unwrap_or(if gpu.capabilities().software { 14 } else { 21 })
}

fn filled<T: Element>(gpu: &Gpu, len: usize) -> DeviceBuffer<T> {
    let words: Vec<F> = (0..len * T::WORDS).map(F::from_usize).collect();
    gpu.upload(&words, "bench").expect("memory").cast()
}

/// Runs what `record` records, to its end.
fn run(gpu: &Gpu, record: impl FnOnce(&mut Recorder)) {
    let mut rec = gpu.recorder("bench");
    record(&mut rec);
    rec.wait().expect("device");
}

fn transforms(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions::default()).expect("adapter");
    let log_in = log_height(&gpu);
    let shape = Shape { columns: 8, log_in, log_out: log_in + 1 };
    let work: [DeviceBuffer<F>; 2] = [filled(&gpu, 8 << (log_in + 1)), filled(&gpu, 8 << (log_in + 1))];
    let mut group = c.benchmark_group("ntt");
    group.throughput(Throughput::Elements(8 << (log_in + 1)));
    group.bench_function("dft of 8 columns, blowup 2", |b| {
        b.iter(|| {
            let dft = |rec: &mut Recorder| {
                ntt::transform(rec, &work[1], [&work[0], &work[1]], shape, Direction::Forward).expect("dft");
            };
            run(&gpu, dft);
        });
    });
    group.bench_function("gather and encode chunks of 8 columns", |b| {
        let cells = 8 << log_in;
        let trace =
            Run { source: &work[0], source_start: 0, log_stride: 0, target_start: 0, filled: cells, padding: 0 };
        b.iter(|| run(&gpu, |rec| ntt::encode_chunks(rec, &trace, &work[1], L_SKIP).expect("chunks")));
    });
    let poly: DeviceBuffer<EF> = filled(&gpu, 1 << log_in);
    group.bench_function("dft of an extension vector, blowup 2", |b| {
        b.iter(|| run(&gpu, |rec| drop(black_box(ntt::dft_ext(rec, &poly, log_in + 1).expect("dft")))));
    });
    group.finish();
}

fn hashing(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions::default()).expect("adapter");
    let rows = 2 << log_height(&gpu);
    let panel: DeviceBuffer<F> = filled(&gpu, 8 * rows);
    let mut group = c.benchmark_group("merkle");
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("rows absorb 8 columns", |b| {
        b.iter(|| {
            run(&gpu, |rec| {
                let mut sponges = RowSponges::new(rec.gpu(), rows, 8, 8).expect("sponges");
                sponges.absorb(rec, Panel::columns(&panel, 8, rows)).expect("absorb");
            });
        });
    });
    group.bench_function("tree over an extension vector, 16 rows a leaf", |b| {
        let codeword = panel.cast::<EF>();
        b.iter(|| run(&gpu, |rec| drop(black_box(MerkleTree::from_ext(rec, &codeword, 16).expect("tree")))));
    });
    group.finish();
}

fn commitment(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions::default()).expect("adapter");
    let log_height = log_height(&gpu);
    let values: Vec<F> = (0..WIDTH << log_height).map(F::from_usize).collect();
    let trace = DeviceMatrix::upload(&gpu, &values, 1 << log_height, WIDTH, "trace").expect("memory");
    let n_stack = log_height - L_SKIP;
    let params = CommitParams { l_skip: L_SKIP, n_stack, log_blowup: 1, k_whir: 4, cache_rs_code_matrix: false };
    let mut group = c.benchmark_group("pcs");
    group.sample_size(10);
    group.throughput(Throughput::Elements((WIDTH << log_height) as u64));
    group.bench_function("commit 42 columns, blowup 2", |b| {
        b.iter(|| commit(&gpu, params, &[&trace]).expect("commit"));
    });
    group.finish();
}

criterion_group!(benches, transforms, hashing, commitment);
criterion_main!(benches);
