//! Powers of a challenge (`wgsl/powers.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::Challenge,
};

kernel! {
    /// out[i] = x^i
    struct Powers("powers.wgsl", workgroup = 64) {
        buffers { read tape: F, write out: EF }
        params { word, len }
    }
}

/// `x^0, .., x^(len - 1)` for a challenge `x`.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub(crate) fn powers(rec: &mut Recorder, x: &Challenge, len: usize) -> Result<DeviceBuffer<EF>> {
    let out = rec.gpu().alloc(len, "powers of a challenge")?;
    let kernel = Powers { tape: x.tape(), out: &out, word: x.word(), len: len as u32 };
    rec.dispatch(&kernel, Grid::threads(len));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn powers_match_the_host() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(8);
        let tape: Vec<F> = (0..40).map(|_| F::from_u32(rng.random())).collect();
        let device_tape = gpu.upload(&tape, "tape").unwrap();
        for (word, len) in [(0, 1), (3, 2), (17, 65), (36, 1000), (5, 4097)] {
            let mut rec = gpu.recorder("test");
            let out = powers(&mut rec, &Challenge::new(&device_tape, word), len).unwrap();
            let ticket = rec.download(&out);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            let x = EF::from_basis_coefficients_slice(&tape[word..word + 4]).unwrap();
            assert_eq!(found, x.powers().take(len).collect());
        }
    }
}
