//! Coefficients and hypercube evaluations of multilinear polynomials (`wgsl/ntt/zeta.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{log2_strict, log_words, roots, TILE_WORDS};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Element, Grid, Recorder},
    kernel,
};

kernel! {
    /// data[i] += data[i without the bit] for the bits of one tile
    struct Zeta("ntt/zeta.wgsl", workgroup = 256) {
        buffers { write data: u32, read roots: F }
        params { words, contiguous, high_bit, first, count, subtract }
    }
}

/// Bits of a tile, and how many of them a pass over high bits takes so that runs of 16 words remain.
const TILE_BITS: usize = TILE_WORDS.ilog2() as usize;
const HIGH_BITS: usize = 8;

/// Upstream's `Mle::coeffs_to_evals_inplace`: values on the hypercube from the coefficients of a multilinear polynomial.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc) for the table of roots.
pub fn coeffs_to_evals<T: Element>(rec: &mut Recorder, poly: &DeviceBuffer<T>) -> Result<()> {
    zeta(rec, poly, false)
}

/// The inverse of [`coeffs_to_evals`] (upstream's `Mle::from_evaluations`).
///
/// # Errors
///
/// As [`coeffs_to_evals`].
pub fn evals_to_coeffs<T: Element>(rec: &mut Recorder, poly: &DeviceBuffer<T>) -> Result<()> {
    zeta(rec, poly, true)
}

fn zeta<T: Element>(rec: &mut Recorder, poly: &DeviceBuffer<T>, subtract: bool) -> Result<()> {
    let log_ext = log_words::<T>();
    let bits = log2_strict(poly.len()) + log_ext;
    let words = 1usize << bits;
    let data = poly.cast();
    let roots = roots(rec.gpu())?;
    let mut pass = |contiguous: usize, high_bit: usize, first: usize, count: usize| {
        let kernel = Zeta {
            data: &data,
            roots: &roots,
            words: words as u32,
            contiguous: contiguous as u32,
            high_bit: high_bit as u32,
            first: first as u32,
            count: count as u32,
            subtract: subtract as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(words.div_ceil(TILE_WORDS)));
    };
    pass(TILE_BITS, TILE_BITS, log_ext, bits.min(TILE_BITS) - log_ext);
    let high_passes = bits.saturating_sub(TILE_BITS).div_ceil(HIGH_BITS);
    let mut bit = TILE_BITS;
    for i in 0..high_passes {
        let count = (bits - bit).div_ceil(high_passes - i);
        pass(TILE_BITS - count, bit, TILE_BITS - count, count);
        bit += count;
    }
    Ok(())
}
