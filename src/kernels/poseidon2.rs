//! Poseidon2 on the device: the constants that every hashing kernel binds (`wgsl/poseidon2.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_baby_bear::{BABYBEAR_RC16_EXTERNAL_FINAL, BABYBEAR_RC16_EXTERNAL_INITIAL, BABYBEAR_RC16_INTERNAL};
use p3_field::PrimeCharacteristicRing;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu},
};

/// The round constants as `wgsl/poseidon2.wgsl` reads them: 8 * 16 external ones, then 13 internal ones, each padded to a vector.
///
/// # Errors
///
/// As [`Gpu::alloc`], at the first call on a device.
pub fn round_constants(gpu: &Gpu) -> Result<DeviceBuffer<F>> {
    gpu.table("poseidon2 round constants", || {
        let external = BABYBEAR_RC16_EXTERNAL_INITIAL.iter().chain(&BABYBEAR_RC16_EXTERNAL_FINAL).flatten().copied();
        let internal = BABYBEAR_RC16_INTERNAL.iter().flat_map(|c| [*c, F::ZERO, F::ZERO, F::ZERO]);
        external.chain(internal).collect()
    })
}
