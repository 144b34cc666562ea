//! WHIR: bytes per second of its passes over the polynomial, openings per second, and the whole stage without proof of work.
//!
//! Floors: memory, 4.2 TB/s on an H200 and 5 GB/s on lavapipe with two cores, but for batching, which takes four field multiplications
//! for 4 bytes: 2.6 TB/s. A round of the sumcheck handles a few thousand values and is bound by a dispatch (1.8 us) or two. The encoding
//! and hashing of the folded polynomial are in `pcs`, the transcript and proof of work in `transcript`.
//!
//! `OPENVM_WGPU_BENCH_LOG_HEIGHT` sets log2 of the stacked height (21 as keccakf has it; 14 on software adapters).

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{default_duplex_sponge, EF, F},
};
use openvm_wgpu_backend::internals::{
    gpu::{DeviceMatrix, Gpu},
    kernels::{
        eq::Factors,
        merkle::MerkleTree,
        transcript::{Challenge, Observed},
        whir::{
            batch::{ColumnBatch, ColumnBlock},
            dots::{ProductWeight, ResidueDots},
            fold::fold_coefficients,
            round::{round, TermTable},
        },
    },
    stages::{
        pcs::{commit, CommitParams, PcsData},
        transcript::Transcript,
        whir::prove_whir,
    },
};
use p3_field::PrimeCharacteristicRing;
use support::{filled, gpu, log_height, time};

const WIDTH: usize = 42;
const K_WHIR: usize = 4;

/// Queries of the first round of 100 bits of security.
const QUERIES: usize = 193;

fn passes(c: &mut Criterion) {
    let gpu = gpu();
    let log_height = log_height(&gpu);
    let height = 1 << log_height;
    let mut group = c.benchmark_group("whir/passes");

    let (columns, mu) = (filled(&gpu, WIDTH * height), filled(&gpu, WIDTH));
    let f = filled::<EF>(&gpu, height);
    let block = ColumnBlock { source: &columns, first_cell: 0, cells: WIDTH * height, log_stride: 0 };
    group.throughput(Throughput::Bytes(((4 * WIDTH + 32) * height) as u64));
    group.bench_function("batch 42 columns", |b| {
        time(b, &gpu, |rec| ColumnBatch { block: &block, mu: &mu, first_column: 0, f: &f }.record(rec))
    });

    let coordinates = filled(&gpu, 2 * log_height);
    group.throughput(Throughput::Bytes((16 * height) as u64));
    // what the sumcheck needs of eq(u, .), and the out-of-domain value with what it needs
    for factors in [Factors::Eq, Factors::Monomial] {
        let weight = ProductWeight { first: 0, factors };
        group.bench_function(format!("inner products with one {factors:?} term"), |b| {
            let dots = ResidueDots { f: &f, k: K_WHIR, coordinates: &coordinates, weights: &[weight] };
            time(b, &gpu, |rec| drop(dots.record(rec).expect("recorded")));
        });
    }

    let alphas = filled(&gpu, K_WHIR);
    group.throughput(Throughput::Bytes((16 * height + (16 * height) / (1 << K_WHIR)) as u64));
    group.bench_function(format!("fold by {K_WHIR} challenges"), |b| {
        time(b, &gpu, |rec| drop(fold_coefficients(rec, &f, &alphas).expect("recorded")));
    });
    group.finish();
}

fn sumcheck(c: &mut Criterion) {
    let gpu = gpu();
    let alpha = Challenge::new(&filled(&gpu, 4), 0);
    let (rows, log_row) = (QUERIES + 2, K_WHIR);
    let table = TermTable { rows, log_row, values: filled(&gpu, (2 * rows) << log_row) };
    let mut group = c.benchmark_group("whir/sumcheck");
    group.throughput(Throughput::Elements((rows << log_row) as u64));
    group.bench_function(format!("fold and sums of a round of {rows} terms"), |b| {
        time(b, &gpu, |rec| drop(round(rec, &table, Some(&alpha)).expect("recorded")));
    });
    group.finish();
}

fn committed(gpu: &Gpu, params: &SystemParams, cache_rs_code_matrix: bool) -> PcsData {
    let height = 1 << params.log_stacked_height();
    let values: Vec<F> = (0..WIDTH * height).map(F::from_usize).collect();
    let trace = DeviceMatrix::upload(gpu, &values, height, WIDTH, "trace").expect("memory");
    let params = CommitParams { cache_rs_code_matrix, ..params.into() };
    commit(gpu, params, &[&trace]).expect("commit").1
}

fn openings(c: &mut Criterion) {
    let gpu = gpu();
    let params = app_params_with_100_bits_security(log_height(&gpu));
    let queries = &Observed::<F>::new(&filled(&gpu, QUERIES), 0, QUERIES);
    let mut group = c.benchmark_group("whir/openings");
    group.sample_size(20);
    // the first round's: with codewords made again this is the encoding, without it the gathering
    for (what, cache) in [("made again", false), ("kept", true)] {
        let data = committed(&gpu, &params, cache);
        let cells = WIDTH << params.log_stacked_height();
        group.throughput(Throughput::Elements(if cache { QUERIES * (WIDTH << K_WHIR) } else { cells } as u64));
        group.bench_function(format!("rows of {QUERIES} queries, codewords {what}"), |b| {
            time(b, &gpu, |rec| drop(data.open_rows(rec, queries).expect("recorded")));
        });
    }
    // a later round's
    let codeword = filled::<EF>(&gpu, 1 << params.log_stacked_height());
    let mut rec = gpu.recorder("bench");
    let tree = MerkleTree::from_ext(&mut rec, &codeword, 1 << K_WHIR).expect("recorded");
    rec.wait().expect("device");
    group.throughput(Throughput::Elements(QUERIES as u64));
    group.bench_function(format!("values and paths of {QUERIES} queries"), |b| {
        time(b, &gpu, |rec| {
            drop(tree.open_ext_rows(rec, &codeword, queries).expect("recorded"));
            drop(tree.open_paths(rec, queries).expect("recorded"));
        });
    });
    group.finish();
}

fn stage(c: &mut Criterion) {
    let gpu = gpu();
    let mut params = app_params_with_100_bits_security(log_height(&gpu));
    (params.whir.mu_pow_bits, params.whir.folding_pow_bits, params.whir.query_phase_pow_bits) = (0, 0, 0);
    let data = committed(&gpu, &params, false);
    let u_cube = filled::<EF>(&gpu, params.log_stacked_height());
    let mut group = c.benchmark_group("whir");
    group.sample_size(10);
    group.throughput(Throughput::Elements((WIDTH << params.log_stacked_height()) as u64));
    group.bench_function("42 columns, no proof of work", |b| {
        b.iter(|| {
            let mut host = default_duplex_sponge();
            let mut tx = Transcript::new(&gpu, &mut host).expect("memory");
            prove_whir(&mut tx, &params, &[&data], &u_cube).expect("proof")
        });
    });
    group.finish();
}

criterion_group!(benches, passes, sumcheck, openings, stage);
criterion_main!(benches);
