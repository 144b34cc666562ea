//! Between the stacked reduction and WHIR (`wgsl/openings/*`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::{tape_and_words, Challenge},
};

kernel! {
    /// u_cube = (u_0^(2^i) for i < l_skip, u_1, .., u_n)
    struct UCube("openings/u_cube.wgsl", workgroup = 32) {
        buffers { read tape: F, read words: u32, write u_cube: EF }
        params { l_skip, len }
    }
}

/// The point on the hypercube of the stacked columns' coefficients at which WHIR opens: `l_skip + n_stack` elements, from `u`
/// (`1 + n_stack` challenges).
///
/// # Errors
///
/// As [`Gpu::upload`].
///
/// # Panics
///
/// When `u` is empty or on several tapes.
pub(crate) fn u_cube(rec: &mut Recorder, u: &[Challenge], l_skip: usize) -> Result<DeviceBuffer<EF>> {
    let (tape, words) = tape_and_words(u).expect("u has a first coordinate");
    let len = l_skip + u.len() - 1;
    let words = rec.gpu().upload(&words, "positions of u")?;
    let u_cube = rec.gpu().alloc(len, "u_cube")?;
    let kernel = UCube { tape, words: &words, u_cube: &u_cube, l_skip: l_skip as u32, len: len as u32 };
    rec.dispatch(&kernel, Grid::threads(len));
    Ok(u_cube)
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::poly_common::Squarable;
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn squares_of_u_0_then_the_rest() {
        let gpu = testing::gpu();
        let tape: Vec<F> = (1..200).map(F::from_u32).collect();
        let element = |word: u32| EF::from_basis_coefficients_slice(&tape[word as usize..word as usize + 4]).unwrap();
        for (l_skip, n_stack) in [(0, 0), (0, 3), (1, 0), (4, 17), (9, 8)] {
            let words: Vec<u32> = (0..=n_stack).map(|i| 7 * i + 3).collect();
            let mut rec = gpu.recorder("test");
            let device_tape = rec.gpu().upload(&tape, "tape").unwrap();
            let u: Vec<_> = words.iter().map(|word| Challenge::new(&device_tape, *word as usize)).collect();
            let found = u_cube(&mut rec, &u, l_skip).unwrap();
            let ticket = rec.download(&found);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            let squares = element(words[0]).exp_powers_of_2().take(l_skip);
            let expected: Vec<EF> = squares.chain(words[1..].iter().map(|w| element(*w))).collect();
            assert_eq!(found, expected);
        }
    }
}
