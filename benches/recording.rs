//! Host time of recording: what a dispatch takes before the device sees it.
//!
//! On a device that executes nothing, so that host time is all there is. Ends with the submission of the last part.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_sdk::config::baby_bear_poseidon2::EF;
use openvm_wgpu_backend::internals::{
    gpu::{DeviceBuffer, Gpu, GpuOptions},
    kernels::sum_rows::SumRows,
};

/// Dispatches of one recording.
const DISPATCHES: usize = 1_000;

/// Different sets of buffers, so that several bind groups are in use.
const BUFFERS: usize = 8;

fn recording(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions { idle: true, ..GpuOptions::default() }).expect("wgpu's noop backend");
    let buffers: Vec<(DeviceBuffer<EF>, DeviceBuffer<EF>)> = (0..BUFFERS)
        .map(|_| (gpu.alloc(64, "values").expect("memory"), gpu.alloc(8, "sums").expect("memory")))
        .collect();
    let mut group = c.benchmark_group("recording");
    group.throughput(Throughput::Elements(DISPATCHES as u64));
    group.bench_function(format!("{DISPATCHES} dispatches"), |b| {
        b.iter(|| {
            let mut rec = gpu.recorder("bench");
            for dispatch in 0..DISPATCHES {
                let (values, sums) = &buffers[dispatch % BUFFERS];
                SumRows { values, rows: 8, len: 8, out: sums }.record(&mut rec);
            }
            rec.submit().expect("nothing to go wrong");
        });
    });
    group.finish();
}

criterion_group!(benches, recording);
criterion_main!(benches);
