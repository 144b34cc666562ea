//! Several foldings at once (`wgsl/whir/fold.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::eq::{tensor_table, Factors},
};

kernel! {
    /// g[y] = sum_{b < 2^k} weights[b] f[2^k y + b]
    struct Fold("whir/fold.wgsl", workgroup = 256) {
        buffers { read f: EF, read weights: EF, write g: EF }
        params { len, k }
    }
}

/// The coefficients of `f(alpha_0, .., alpha_{k-1}, .)` from those of the multilinear polynomial `f`; variable `i` is bit `i` of the index.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub fn fold_coefficients(
    rec: &mut Recorder,
    f: &DeviceBuffer<EF>,
    alphas: &DeviceBuffer<EF>,
) -> Result<DeviceBuffer<EF>> {
    let k = alphas.len();
    assert!(f.len().is_power_of_two() && f.len() >> k > 0, "{k} foldings of {} coefficients", f.len());
    let weights = tensor_table(rec, alphas, 0..k, Factors::Monomial)?;
    let len = f.len() >> k;
    let g = rec.gpu().alloc(len, "folded polynomial")?;
    rec.dispatch(&Fold { f, weights: &weights, g: &g, len: len as u32, k: k as u32 }, Grid::threads(len));
    Ok(g)
}

#[cfg(test)]
mod tests {
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn foldings_match_one_by_one() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(14);
        let mut random = |len: usize| -> Vec<EF> { (0..len).map(|_| rng.random()).collect() };
        for (m, k) in [(0, 0), (1, 1), (4, 4), (5, 1), (9, 3), (12, 2), (13, 4)] {
            let (f, alphas) = (random(1 << m), random(k));
            let buffers = (gpu.upload(&f, "f").unwrap(), gpu.upload(&alphas, "alphas").unwrap());
            let mut rec = gpu.recorder("test");
            let g = fold_coefficients(&mut rec, &buffers.0, &buffers.1).unwrap();
            let ticket = rec.download(&g);
            let found = rec.wait().unwrap().take(ticket).unwrap();
            let expected = alphas.iter().fold(f, |f, alpha| f.chunks(2).map(|c| c[0] + *alpha * c[1]).collect());
            assert_eq!(found, expected);
        }
    }
}
