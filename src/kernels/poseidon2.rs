//! Poseidon2 on the device: the constants that every hashing kernel binds, and the shape of the sponges (`wgsl/poseidon2.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_baby_bear::{BABYBEAR_RC16_EXTERNAL_FINAL, BABYBEAR_RC16_EXTERNAL_INITIAL, BABYBEAR_RC16_INTERNAL};
use p3_field::PrimeCharacteristicRing;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu},
};

/// Words of the permutation's state.
pub const WIDTH: usize = 16;

/// Words of the state that a sponge absorbs or gives out with one permutation; `RATE` of `wgsl/poseidon2.wgsl`.
pub const RATE: usize = 8;

/// The round constants as `wgsl/poseidon2.wgsl` reads them: 8 * 16 external ones, then 16 vectors of which
/// x are the 13 internal ones, y the diagonal d of the internal matrix, that of word 0 (which kernels treat apart) as 0, and
/// z of vector i the sum of d_j^i over the words j > 0; then, for `wgsl/poseidon2_lanes.wgsl`, d_{i ^ k}^i at 16 i + k.
///
/// # Errors
///
/// As [`Gpu::alloc`], at the first call on a device.
pub fn round_constants(gpu: &Gpu) -> Result<DeviceBuffer<F>> {
    gpu.table("poseidon2 round constants", || {
        let power = |i: usize, word: usize| if word == 0 { F::ZERO } else { diagonal()[word].exp_u64(i as u64) };
        let power_sum = |i: usize| (0..16).map(|word| power(i, word)).sum::<F>();
        let vector = |i: usize| {
            let constant = BABYBEAR_RC16_INTERNAL.get(i).copied().unwrap_or_default();
            [constant, diagonal()[i], power_sum(i), F::ZERO]
        };
        let powers = (0..16).flat_map(|i| (0..16).map(move |k| power(i, i ^ k)));
        external_constants().flatten().chain((0..16).flat_map(vector)).chain(powers).collect()
    })
}

/// The constants of the 8 external rounds.
pub fn external_constants() -> impl Iterator<Item = [F; 16]> {
    BABYBEAR_RC16_EXTERNAL_INITIAL.into_iter().chain(BABYBEAR_RC16_EXTERNAL_FINAL)
}

/// diag(0, 1, 2, 1/2, 3, 4, -1/2, -3, -4, 1/2^8, 1/4, 1/8, 1/2^27, -1/2^8, -1/16, -1/2^27).
pub fn diagonal() -> [F; 16] {
    let half = |k: u64| F::ONE.div_2exp_u64(k);
    let (three, four) = (F::from_u32(3), F::from_u32(4));
    let positive = [F::ZERO, F::ONE, F::TWO, half(1), three, four];
    let mixed = [-half(1), -three, -four, half(8), half(2), half(3), half(27), -half(8), -half(4), -half(27)];
    std::array::from_fn(|i| if i < 6 { positive[i] } else { mixed[i - 6] })
}
