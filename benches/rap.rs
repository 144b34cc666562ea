//! Tables and tiles of the constraint proof: bytes per second. The constraints themselves are in `constraints`.
//!
//! Floors: memory, 4.2 TB/s on an H200 and 5 GB/s on lavapipe with two cores, or arithmetic, 2.6 T and 4 G multiplications/s, which are
//! close to each other here. For 1,000 cells of a trace on an H200, the univariate skip on two cosets moves 12,000 bytes (2.9 ns) and
//! multiplies 8,000 times (3.1 ns); the PLE fold moves 5,000 bytes (1.2 ns) and multiplies 4,000 times (1.5 ns). For 1,000 values over
//! the extension, an MLE fold moves 24,000 bytes (5.7 ns) and multiplies 8,000 times (3.1 ns).
//!
//! `OPENVM_WGPU_BENCH_LOG_HEIGHT` sets log2 of the height of the trace and its columns over the extension (20; 12 on software adapters).

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use openvm_wgpu_backend::internals::{
    constraints::{TileColumn, TileLayout},
    gpu::{DeviceBuffer, DeviceMatrix, Gpu},
    kernels::{
        rap::{eq_trees, fold_tile, CosetTile, MleFold, PleFold, TilePlanner, TileSource, TraceTile},
        transcript::Challenge,
    },
};
use p3_field::PrimeCharacteristicRing;
use support::{ext, filled, gpu, log_size, time};

const WIDTH: usize = 32;
const L_SKIP: usize = 4;

/// Of constraints of degree 3.
const COSETS: usize = 2;

fn log_height(gpu: &Gpu) -> usize {
    log_size(gpu, "OPENVM_WGPU_BENCH_LOG_HEIGHT", 20, 12)
}

/// A trace, all its columns in the tile.
fn source(gpu: &Gpu, height: usize) -> TileSource {
    let values: Vec<F> = (0..WIDTH * height).map(F::from_usize).collect();
    let trace = DeviceMatrix::upload(gpu, &values, height, WIDTH, "trace").expect("memory");
    let layout = TileLayout::used((0..WIDTH as u32).map(|col| TileColumn::Main { part: 0, rot: false, col }));
    let mut planner = TilePlanner::new(gpu).expect("memory");
    planner.add(&layout, height, |_| (&trace).into());
    planner.finish(gpu).expect("memory").remove(0)
}

fn eq_tables(c: &mut Criterion) {
    let gpu = gpu();
    let log_len = log_height(&gpu);
    let xi = gpu.upload(&ext(log_len), "xi").expect("memory");
    let all = 0..log_len;
    let mut group = c.benchmark_group("eq tables");
    // 2^(n+1) values are written
    group.throughput(Throughput::Bytes(32 << log_len));
    group.bench_function(format!("all levels up to 2^{log_len}"), |b| {
        time(b, &gpu, |rec| drop(eq_trees(rec, &xi, std::slice::from_ref(&all)).expect("recorded")));
    });
    group.finish();
}

fn tiles(c: &mut Criterion) {
    let gpu = gpu();
    let height = 1 << log_height(&gpu);
    let (source, points) = (source(&gpu, height), height >> L_SKIP);
    let cells = (WIDTH * height) as u64;
    let tile: DeviceBuffer<F> = gpu.alloc(WIDTH * COSETS * height, "tile").expect("memory");
    let mut group = c.benchmark_group("tiles");
    group.sample_size(20);
    // 4 bytes of a cell are read, 4 written
    group.throughput(Throughput::Bytes(8 * cells));
    group.bench_function("rows of a trace", |b| {
        let rows = TraceTile { source: &source, rows: 0..height, tile: &tile, tile_at: 0, stride: height };
        time(b, &gpu, |rec| rows.record(rec));
    });
    // 4 bytes of a cell are read, 4 written for each coset
    group.throughput(Throughput::Bytes((4 + 4 * COSETS as u64) * cells));
    group.bench_function(format!("univariate skip of 2^{L_SKIP} rows on {COSETS} cosets"), |b| {
        let stride = COSETS * height;
        let tile = CosetTile {
            source: &source,
            points: 0..points,
            l_skip: L_SKIP,
            cosets: COSETS,
            tile: &tile,
            tile_at: 0,
            stride,
        };
        time(b, &gpu, |rec| tile.record(rec).expect("recorded"));
    });
    let lagrange = gpu.upload(&ext(1 << L_SKIP), "Lagrange basis").expect("memory");
    let folded: DeviceBuffer<EF> = gpu.alloc(WIDTH * points, "folded").expect("memory");
    // 4 bytes of a cell are read, 16 written for 2^l_skip of them
    group.throughput(Throughput::Bytes((4 + 16 / (1 << L_SKIP)) * cells));
    group.bench_function("PLE fold", |b| {
        let (points, lagrange, tile) = (0..points, &lagrange, &folded);
        let stride = points.len();
        let fold = PleFold { source: &source, points, l_skip: L_SKIP, lagrange, tile, tile_at: 0, stride };
        time(b, &gpu, |rec| fold.record(rec));
    });
    group.finish();
}

fn mle_folds(c: &mut Criterion) {
    let gpu = gpu();
    let r = Challenge::new(&filled(&gpu, 4), 0);
    let rows = 1 << (log_height(&gpu) - L_SKIP);
    let columns: DeviceBuffer<EF> = filled(&gpu, 4 * WIDTH * rows);
    let folded: DeviceBuffer<EF> = gpu.alloc(2 * WIDTH * rows, "folded").expect("memory");
    let mut group = c.benchmark_group("MLE folds");
    // the first round is as large as this, the later ones fill a GPU less and less
    for rows in [rows, rows / 8, rows / 64] {
        // 16 bytes of a value are read, 8 written
        group.throughput(Throughput::Bytes((24 * 4 * WIDTH * rows) as u64));
        group.bench_function(format!("{} columns of {rows} rows", 4 * WIDTH), |b| {
            let (source, folded, half) = (&columns, &folded, rows / 2);
            let fold = MleFold {
                columns: 4 * WIDTH,
                source_rows: rows,
                source,
                r: &r,
                folded,
                folded_at: 0,
                folded_rows: 0..half,
                folded_stride: half,
            };
            time(b, &gpu, |rec| fold_tile(rec, &fold));
        });
    }
    group.finish();
}

criterion_group!(benches, eq_tables, tiles, mle_folds);
criterion_main!(benches);
