//! Forward and inverse transforms of every length from 2^0 to the largest that the adapter's memory allows, up to 2^27, against the host's
//! DFT where the host can afford it and against single evaluations beyond.

use std::time::{Duration, Instant};

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use openvm_wgpu_backend::{
    error::Error,
    internals::{
        gpu::{DeviceBuffer, Element, Gpu, GpuOptions},
        kernels::ntt::{DftShape, Direction, Transform, MAX_LOG_SIZE},
    },
};
use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, TwoAdicField};
use rand::{rngs::StdRng, Rng, SeedableRng};

/// Words up to which the host transforms everything itself.
const HOST_WORDS: usize = 1 << 20;

/// A software adapter stops beginning larger sizes after this long.
const SOFTWARE_TIME: Duration = Duration::from_secs(12);

/// Two buffers that the passes alternate between, the first with the values, or why there is no room for them.
fn buffers<T: Element>(gpu: &Gpu, values: &[T]) -> Result<[DeviceBuffer<T>; 2], Error> {
    Ok([gpu.upload(values, "round trip")?, gpu.alloc(values.len(), "round trip")?])
}

/// Transforms the columns of `buffers[0]`; the result is in the first of the buffers returned.
fn transformed<T: Element>(
    gpu: &Gpu,
    [from, other]: [DeviceBuffer<T>; 2],
    shape: DftShape,
    direction: Direction,
) -> [DeviceBuffer<T>; 2] {
    let mut rec = gpu.recorder("round trip");
    Transform { src: &from, work: [&other, &from], shape, direction }.record(&mut rec).unwrap();
    rec.submit().unwrap();
    match shape.result_at::<T>(gpu) {
        0 => [other, from],
        _ => [from, other],
    }
}

/// One size; false when the adapter has no memory for it.
fn round_trip<T: Element + TwoAdicField + Ord>(gpu: &Gpu, values: &[T], shape: DftShape) -> bool {
    let buffers = match buffers(gpu, values) {
        Ok(buffers) => buffers,
        Err(Error::BufferTooLarge { .. } | Error::OutOfBudget { .. } | Error::OutOfMemory { .. }) => return false,
        Err(error) => panic!("{error}"),
    };
    let [evals, other] = transformed(gpu, buffers, shape, Direction::Forward);
    check_forward(&gpu.download(&evals).unwrap(), values, shape);
    let [coeffs, _] = transformed(gpu, [evals, other], shape, Direction::Inverse);
    assert!(gpu.download(&coeffs).unwrap() == values, "there and back: {shape:?}");
    true
}

fn check_forward<T: Element + TwoAdicField + Ord>(evals: &[T], values: &[T], shape: DftShape) {
    let len = 1 << shape.log_out;
    if values.len() * T::WORDS <= HOST_WORDS {
        let host = |column: &[T]| Radix2DitParallel::default().dft(column.to_vec());
        assert!(evals == values.chunks(len).flat_map(host).collect::<Vec<_>>(), "forward: {shape:?}");
        return;
    }
    // one evaluation by Horner's rule, at an index with bits of every pass
    let k = 0x2d3_5a79 % len;
    let x = T::two_adic_generator(shape.log_out).exp_u64(k as u64);
    let expected = values.iter().rev().fold(T::ZERO, |sum, c| sum * x + *c);
    assert!(evals[k] == expected, "forward at {k}: {shape:?}");
}

#[test]
fn base_field() {
    let gpu = Gpu::new(&GpuOptions::default()).expect("tests need a GPU adapter");
    let mut rng = StdRng::seed_from_u64(1);
    let started = Instant::now();
    let mut reached = 0;
    for log_len in 0..=MAX_LOG_SIZE {
        if gpu.capabilities().software && started.elapsed() > SOFTWARE_TIME {
            break;
        }
        let columns = if log_len < 14 { 3 } else { 1 };
        let values: Vec<F> = (0..columns << log_len).map(|_| F::from_u32(rng.random())).collect();
        if !round_trip(&gpu, &values, DftShape { columns, log_in: log_len, log_out: log_len }) {
            break;
        }
        reached = log_len;
    }
    println!("2^0 to 2^{reached} on {}", gpu.adapter().name);
    assert!(reached >= 20, "stopped at 2^{reached}");
}

#[test]
fn extension_field() {
    let gpu = Gpu::new(&GpuOptions::default()).expect("tests need a GPU adapter");
    let mut rng = StdRng::seed_from_u64(2);
    let largest = if gpu.capabilities().software { 18 } else { 24 };
    for log_len in 0..=largest {
        let values: Vec<EF> =
            (0..1 << log_len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect();
        assert!(round_trip(&gpu, &values, DftShape { columns: 1, log_in: log_len, log_out: log_len }));
    }
}
