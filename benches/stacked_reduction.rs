//! The stacked reduction: bytes per second of its passes over the cells and over the combined vectors, and of the whole stage.
//!
//! Floors: memory, 4.2 TB/s on an H200 and 5 GB/s on lavapipe with two cores. A pass over the cells also takes four field multiplications
//! for 4 bytes, which at 2.6 T/s is 1.6 times as long as the bytes: 2.6 TB/s for the first two groups.
//!
//! `OPENVM_WGPU_BENCH_LOG_HEIGHT` sets log2 of the stacked height (21 as keccakf has it; 14 on software adapters).

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{default_duplex_sponge, EF, F},
};
use openvm_wgpu_backend::internals::{
    gpu::DeviceMatrix,
    kernels::{
        stacked_reduction::{
            skip_domain, CellDots, ColumnRun, Combination, Combinations, CombinedPiece, CubeEqTables, CubeRound,
            CubeTables, LambdaPowers, RecordSums, Round0Tables, RowWeights, PARTIAL_ELEMENTS, RECORD_ELEMENTS,
            ROUND_WORDS,
        },
        transcript::Challenge,
    },
    stages::{pcs::StackedMatrix, stacked_reduction::StackedReduction, transcript::Transcript},
};
use p3_field::PrimeCharacteristicRing;
use support::{ext, filled, gpu, log_height, time};

const L_SKIP: usize = 4;
const WIDTH: usize = 42;

/// The two passes over the cells of the committed columns.
fn cells(c: &mut Criterion) {
    let gpu = gpu();
    let log_height = log_height(&gpu);
    let height = 1 << log_height;
    let run = ColumnRun {
        source: filled(&gpu, WIDTH * height),
        offset: 0,
        pitch: height,
        stride: 1,
        log_height,
        first_view: 0,
        views: WIDTH,
    };
    let tape = filled::<F>(&gpu, 1 << 10);
    let u: Vec<_> = (0..log_height - L_SKIP).map(|i| Challenge::new(&tape, ROUND_WORDS as usize * i)).collect();
    let lambda = LambdaPowers { powers: filled(&gpu, 2 * WIDTH) };
    let combined = gpu.alloc::<EF>(height, "combined").expect("memory");
    let mut group = c.benchmark_group("stacked reduction/cells");
    group.throughput(Throughput::Bytes((4 * WIDTH * height) as u64));
    group.bench_function("lambda-combination of 42 columns", |b| {
        let (lambda, combined) = (&lambda, &combined);
        let runs = &[Combination { run: &run, rows: 0..height, at: 0 }];
        time(b, &gpu, |rec| Combinations { lambda, runs, combined }.record(rec).expect("recorded"));
    });
    let point = filled(&gpu, 1 << (L_SKIP + 1));
    let mut rec = gpu.recorder("bench");
    let weights = RowWeights::new(&mut rec, &u, &point, L_SKIP).expect("memory");
    rec.wait().expect("device");
    let partials = gpu.alloc(WIDTH << weights.log_blocks(), "partial openings").expect("memory");
    let dots = CellDots { weights: &weights, runs: &[&run], slot: 0, partials: &partials };
    group.bench_function("openings of 42 columns", |b| time(b, &gpu, |rec| dots.record(rec).expect("recorded")));
    group.finish();
}

/// The passes over one combined vector.
fn vectors(c: &mut Criterion) {
    let gpu = gpu();
    let log_height = log_height(&gpu);
    let (height, n) = (1 << log_height, log_height - L_SKIP);
    let u = Challenge::new(&filled(&gpu, 4), 0);
    let mut group = c.benchmark_group("stacked reduction/vectors");

    let combined = filled::<EF>(&gpu, height);
    let r = gpu.upload(&ext(n + 1), "r").expect("memory");
    let low_bits = (RECORD_ELEMENTS.ilog2() as usize - L_SKIP).min(n);
    let mut rec = gpu.recorder("bench");
    let eq = CubeEqTables::new(&mut rec, &r, low_bits, n - low_bits).expect("memory");
    rec.wait().expect("device");
    let round0 = Round0Tables { l_skip: L_SKIP, kinds: 1, skip_domain: &skip_domain(&gpu, L_SKIP).expect("table") };
    let piece =
        CombinedPiece { combined: &combined, at: 0, start: 0, len: height, log_height, rot: true, record_at: 0 };
    let records = round0.records_of(&eq, log_height, height) << (L_SKIP + 1);
    let records = gpu.alloc(records, "records").expect("memory");
    group.throughput(Throughput::Bytes((16 * height) as u64));
    let sums = RecordSums { round0: &round0, eq: &eq, pieces: &[piece], records: &records };
    group.bench_function("sums of round 0", |b| time(b, &gpu, |rec| sums.record(rec).expect("recorded")));

    // values and weights: 32 bytes of an element are read, 32 written for two of them
    let len = height >> L_SKIP;
    let tables = CubeTables { values: filled(&gpu, len), weights: filled(&gpu, len) };
    let next = CubeTables::alloc(&gpu, len / 2).expect("memory");
    let partials = gpu.alloc(PARTIAL_ELEMENTS, "partial sums").expect("memory");
    for len in [len, len / 8, len / 64] {
        group.throughput(Throughput::Bytes((48 * len) as u64));
        let (tables, next, partials) = (&tables, &next, &partials);
        let round = CubeRound { tables, next, len: len / 2, paired: len / 2, fold: Some(&u), partials };
        group.bench_function(format!("fold and sums of a round of 2^{}", len.ilog2()), |b| {
            time(b, &gpu, |rec| assert!(round.record(rec) > 0));
        });
    }
    group.finish();
}

fn stage(c: &mut Criterion) {
    let gpu = gpu();
    let log_height = log_height(&gpu);
    let params = app_params_with_100_bits_security(log_height);
    let values: Vec<F> = (0..WIDTH << log_height).map(F::from_usize).collect();
    let trace = DeviceMatrix::upload(&gpu, &values, 1 << log_height, WIDTH, "trace").expect("memory");
    let stacked = StackedMatrix::new(params.l_skip, params.n_stack, &[&trace]).expect("fits");
    let r = ext(1 + params.n_stack);
    let mut group = c.benchmark_group("stacked reduction");
    group.sample_size(10);
    // every cell is read twice; a wait is part of the stage
    group.throughput(Throughput::Bytes(8 * (WIDTH << log_height) as u64));
    group.bench_function("42 columns with rotations", |b| {
        b.iter(|| {
            let mut host = default_duplex_sponge();
            let mut tx = Transcript::new(&gpu, &mut host).expect("memory");
            let mut rec = gpu.recorder("bench");
            StackedReduction::record(&mut tx, &mut rec, &params, &[&stacked], &[vec![true]], &r).expect("recorded");
            tx.sync(rec).expect("device")
        });
    });
    group.finish();
}

criterion_group!(benches, cells, vectors, stage);
criterion_main!(benches);
