//! Encoding: bytes per second, counted as if each value were read and written once. Hashing: permutations per second. And the whole
//! commitment.
//!
//! Floors: memory, 4.2 TB/s on an H200 and 5 GB/s on lavapipe with two cores. A DFT of 2^22 values takes three passes, each of which was
//! measured alone at 1.7 TB/s and 0.4 GB/s. Poseidon2: 3.0 G permutations/s on an H200, 2.0 M/s on lavapipe. So the commitment of 42 columns
//! of 2^21 is bound by 7 permutations for each of 2^22 rows, 6 that absorb and 1 in the tree: 9.8 ms on an H200, 9 G cells/s.
//!
//! `OPENVM_WGPU_BENCH_LOG_HEIGHT` sets log2 of the stacked height (21 as keccakf has it; 14 on software adapters).

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use openvm_wgpu_backend::internals::{
    gpu::{DeviceBuffer, DeviceMatrix, Recorder},
    kernels::{
        merkle::{MerkleTree, Panel, RowSponges},
        ntt::{self, CellRun, DftShape, Direction, Transform},
    },
    stages::pcs::{commit, CommitParams},
};
use p3_field::PrimeCharacteristicRing;
use support::{filled, gpu, log_height, time};

const L_SKIP: usize = 4;
const WIDTH: usize = 42;

fn transforms(c: &mut Criterion) {
    let gpu = gpu();
    let log_in = log_height(&gpu);
    let shape = DftShape { columns: 8, log_in, log_out: log_in + 1 };
    let work: [DeviceBuffer<F>; 2] = [filled(&gpu, 8 << (log_in + 1)), filled(&gpu, 8 << (log_in + 1))];
    let mut group = c.benchmark_group("ntt");
    group.throughput(Throughput::Bytes(8 * (8 << (log_in + 1))));
    group.bench_function("dft of 8 columns, blowup 2", |b| {
        let dft = |rec: &mut Recorder| {
            let (src, direction) = (&work[1], Direction::Forward);
            Transform { src, work: [&work[0], src], shape, direction }.record(rec).expect("dft");
        };
        time(b, &gpu, dft);
    });
    let cells = 8 << log_in;
    group.throughput(Throughput::Bytes(8 * cells as u64));
    group.bench_function("gather and encode chunks of 8 columns", |b| {
        let trace =
            CellRun { source: &work[0], source_start: 0, log_stride: 0, target_start: 0, filled: cells, padding: 0 };
        time(b, &gpu, |rec| ntt::encode_chunks(rec, &trace, &work[1], L_SKIP).expect("chunks"));
    });
    let poly: DeviceBuffer<EF> = filled(&gpu, 1 << log_in);
    group.throughput(Throughput::Bytes(8 * (4 << (log_in + 1))));
    group.bench_function("dft of an extension vector, blowup 2", |b| {
        time(b, &gpu, |rec| drop(ntt::dft_ext(rec, &poly, log_in + 1).expect("dft")));
    });
    group.finish();
}

fn hashing(c: &mut Criterion) {
    let gpu = gpu();
    let rows = 2 << log_height(&gpu);
    let panel: DeviceBuffer<F> = filled(&gpu, 8 * rows);
    let mut group = c.benchmark_group("merkle");
    // a permutation a row
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("rows absorb 8 columns", |b| {
        time(b, &gpu, |rec| {
            let mut sponges = RowSponges::new(rec.gpu(), rows, 8, 8).expect("sponges");
            sponges.absorb(rec, Panel::columns(&panel, 8, rows)).expect("absorb");
        });
    });
    // a permutation for each value, and one less to compress them to one node
    let codeword = panel.cast::<EF>();
    group.throughput(Throughput::Elements(2 * codeword.len() as u64 - 1));
    group.bench_function("tree over an extension vector, 16 rows a leaf", |b| {
        time(b, &gpu, |rec| drop(MerkleTree::from_ext(rec, &codeword, 16).expect("tree")));
    });
    group.finish();
}

fn commitment(c: &mut Criterion) {
    let gpu = gpu();
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
