//! Number-theoretic transforms and the encoding of chunks (`wgsl/ntt/*`).
//!
//! All work on words: an extension element is four coordinates side by side, and every transform here is linear over the base field.

mod chunk;
mod dft;
mod wide;

pub use chunk::{encode_chunks, eval_to_coeff_rs_message, CellRun};
pub use dft::{dft, dft_ext, inverse_dft, DftShape, Direction, Narrow, Transform};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{PrimeCharacteristicRing, TwoAdicField};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Element, Gpu},
};

/// log2 of the largest transform: the field's two-adicity.
pub const MAX_LOG_SIZE: usize = F::TWO_ADICITY;

/// Words that one workgroup of 256 threads transforms.
const TILE_WORDS: usize = 1 << 12;

/// log2 of the first level of the table of roots.
const LOG_LOW_ROOTS: usize = 14;

/// Powers of the root of order 2^27 in two levels: w^i for i < 2^14, then w^(i 2^14) for i < 2^13.
fn roots(gpu: &Gpu) -> Result<DeviceBuffer<F>> {
    gpu.table("ntt roots", || {
        let root = F::two_adic_generator(MAX_LOG_SIZE);
        let low = root.powers().take(1 << LOG_LOW_ROOTS);
        let high = root.exp_power_of_2(LOG_LOW_ROOTS).powers().take(1 << (MAX_LOG_SIZE - LOG_LOW_ROOTS));
        low.chain(high).collect()
    })
}

/// log2 of the words of an element.
fn log_words<T: Element>() -> usize {
    assert!(T::WORDS.is_power_of_two(), "elements of {} words", T::WORDS);
    T::WORDS.ilog2() as usize
}

/// log2 of a length that must be a power of two.
fn log2_strict(len: usize) -> usize {
    assert!(len.is_power_of_two(), "length {len} is not a power of two");
    len.ilog2() as usize
}

#[cfg(test)]
mod tests;
