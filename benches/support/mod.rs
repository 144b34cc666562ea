//! What the benches share: the device, sizes, contents, and a clock that hardly sees the host.
//!
//! Each bench uses its own part of this module.
#![allow(dead_code)]

use std::time::Instant;

use criterion::Bencher;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use openvm_wgpu_backend::internals::gpu::{DeviceBuffer, Element, Gpu, GpuOptions, Recorder};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

/// The device that the environment chooses.
pub fn gpu() -> Gpu {
    Gpu::new(&GpuOptions::default()).expect("adapter")
}

/// log2 of a size: what the environment's `variable` says, else by the kind of adapter.
pub fn log_size(gpu: &Gpu, variable: &str, hardware: usize, software: usize) -> usize {
    let chosen = std::env::var(variable).ok().and_then(|value| value.parse().ok());
    chosen.unwrap_or(if gpu.capabilities().software { software } else { hardware })
}

/// log2 of the height of the stacked matrix: that of keccakf on GPUs.
pub fn log_height(gpu: &Gpu) -> usize {
    log_size(gpu, "OPENVM_WGPU_BENCH_LOG_HEIGHT", 21, 14)
}

/// A buffer of field elements, all different where there are not too many.
pub fn filled<T: Element>(gpu: &Gpu, len: usize) -> DeviceBuffer<T> {
    let words: Vec<F> = (0..len * T::WORDS).map(F::from_usize).collect();
    gpu.upload(&words, "bench").expect("memory").cast()
}

/// Extension elements with all coordinates in use.
pub fn ext(len: usize) -> Vec<EF> {
    (0..len).map(|i| EF::from_basis_coefficients_fn(|k| F::from_usize(i * (k + 3) + 1))).collect()
}

/// Recordings of one kernel between two waits. A wait takes 70 us on an H200, as long as a kernel moves 300 MB.
const PER_WAIT: u64 = 8;

/// Times what `record` records, to its end.
pub fn time(bencher: &mut Bencher<'_>, gpu: &Gpu, mut record: impl FnMut(&mut Recorder)) {
    bencher.iter_custom(|iterations| {
        let start = Instant::now();
        for done in (0..iterations).step_by(PER_WAIT as usize) {
            let mut rec = gpu.recorder("bench");
            (done..iterations.min(done + PER_WAIT)).for_each(|_| record(&mut rec));
            rec.wait().expect("device");
        }
        start.elapsed()
    });
}
