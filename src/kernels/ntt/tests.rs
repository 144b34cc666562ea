//! The transforms against p3-dft and upstream's polynomial functions.

use openvm_stark_backend::prover::poly::eval_to_coeff_rs_message as host_rs_message;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, TwoAdicField};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{gpu::testing, kernels::MAX_L_SKIP};

fn random_base(rng: &mut StdRng, len: usize) -> Vec<F> {
    (0..len).map(|_| F::from_u32(rng.random())).collect()
}

fn random_ext(rng: &mut StdRng, len: usize) -> Vec<EF> {
    (0..len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect()
}

/// What the host makes of the columns of 2^log_in values.
fn host_dft<T: TwoAdicField + Ord>(values: &[T], shape: DftShape) -> Vec<T> {
    let pad = |column: &[T]| [column, &vec![T::ZERO; (1 << shape.log_out) - column.len()]].concat();
    values.chunks(1 << shape.log_in).flat_map(|c| Radix2DitParallel::default().dft(pad(c))).collect()
}

/// Forward against the host, then back, for one shape.
fn check_dft<T: Element + TwoAdicField + Ord>(values: &[T], shape: DftShape) {
    let gpu = testing::gpu();
    let mut rec = gpu.recorder("test");
    let src = rec.gpu().upload(values, "values").unwrap();
    let evals = dft(&mut rec, &src, shape).unwrap();
    let coeffs = inverse_dft(&mut rec, &evals, DftShape { log_in: shape.log_out, ..shape }).unwrap();
    let (evals, coeffs) = (rec.download(&evals), rec.download(&coeffs));
    let done = rec.wait().unwrap();
    assert!(done.take(evals).unwrap() == host_dft(values, shape), "forward {shape:?}");
    let coeffs = done.take(coeffs).unwrap();
    for (found, column) in coeffs.chunks(1 << shape.log_out).zip(values.chunks(1 << shape.log_in)) {
        let (head, tail) = found.split_at(column.len());
        assert!(head == column && tail.iter().all(T::is_zero), "inverse {shape:?}");
    }
}

#[test]
fn base_dft_of_every_length() {
    let mut rng = StdRng::seed_from_u64(1);
    for log_out in 0..=17 {
        for (columns, padding) in [(1, 0), (3, 1), (65, 2)] {
            let shape = DftShape { columns, log_in: log_out - log_out.min(padding), log_out };
            if columns << log_out <= 1 << 19 {
                check_dft(&random_base(&mut rng, columns << shape.log_in), shape);
            }
        }
    }
}

#[test]
fn extension_dft_of_every_length() {
    let mut rng = StdRng::seed_from_u64(2);
    for log_out in 0..=17 {
        for (columns, padding) in [(1, 3), (17, 0), (2, 9)] {
            let shape = DftShape { columns, log_in: log_out - log_out.min(padding), log_out };
            if columns << log_out <= 1 << 17 {
                check_dft(&random_ext(&mut rng, columns << shape.log_in), shape);
            }
        }
    }
}

#[test]
fn workgroups_that_take_several_columns() {
    let mut rng = StdRng::seed_from_u64(3);
    // 16 tiles a column, eight of a wide pass; four columns to a tile
    for (columns, log_out) in [(197, 16), (19_000, 10)] {
        let shape = DftShape { columns, log_in: log_out - 1, log_out };
        check_dft(&random_base(&mut rng, columns << shape.log_in), shape);
    }
}

#[test]
fn two_wide_passes() {
    let mut rng = StdRng::seed_from_u64(6);
    // without and with folds in the first and in the last pass; l = 1, 4, 2, 16 in the first pass; two columns a workgroup
    for (columns, log_in, log_out) in [(3, 20, 20), (2, 21, 22), (1, 22, 22), (1, 21, 24)] {
        check_dft(&random_base(&mut rng, columns << log_in), DftShape { columns, log_in, log_out });
    }
}

#[test]
fn beyond_the_two_adicity_is_an_error() {
    let gpu = testing::gpu();
    let mut rec = gpu.recorder("test");
    let src = rec.gpu().upload(&[F::ONE], "one").unwrap();
    let error = dft(&mut rec, &src, DftShape { columns: 1, log_in: 0, log_out: 28 }).err().unwrap();
    assert!(error.to_string().contains("2^28"), "{error}");
}

#[test]
fn chunks_become_rs_coefficients() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(4);
    for l_skip in 0..=MAX_L_SKIP {
        for chunks in [1, 3, 33] {
            let base = random_base(&mut rng, chunks << l_skip);
            let ext = random_ext(&mut rng, chunks << l_skip);
            let mut rec = gpu.recorder("test");
            let (b, e) = (rec.gpu().upload(&base, "base").unwrap(), rec.gpu().upload(&ext, "ext").unwrap());
            eval_to_coeff_rs_message(&mut rec, &b, l_skip).unwrap();
            eval_to_coeff_rs_message(&mut rec, &e, l_skip).unwrap();
            let (b, e) = (rec.download(&b), rec.download(&e));
            let done = rec.wait().unwrap();
            let host = |chunk: &[F]| host_rs_message(l_skip, chunk);
            assert_eq!(done.take(b).unwrap(), base.chunks(1 << l_skip).flat_map(host).collect::<Vec<_>>());
            let host = |chunk: &[EF]| host_rs_message(l_skip, chunk);
            assert_eq!(done.take(e).unwrap(), ext.chunks(1 << l_skip).flat_map(host).collect::<Vec<_>>());
        }
    }
    let mut rec = gpu.recorder("test");
    let one = rec.gpu().upload(&vec![F::ONE; 1 << 10], "ones").unwrap();
    assert!(eval_to_coeff_rs_message(&mut rec, &one, 10).is_err());
}

#[test]
fn runs_are_gathered_and_encoded() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(5);
    let odd = [(4, 0, 4096 + 64, 32), (3, 2, 500, 8), (0, 0, 77, 3), (9, 4, 320, 512)];
    let aligned = [(4, 0, 4096 + 64, 32), (4, 0, 16, 0), (4, 1, 64, 16)];
    let cases = odd.map(|case| (5, case)).into_iter().chain(aligned.map(|case| (8, case)));
    for (source_start, (l_skip, log_stride, cells, padding)) in cases {
        let target_start = 3 << l_skip;
        let source = random_base(&mut rng, source_start + cells + 2);
        let filled = cells << log_stride;
        let mut expected = vec![F::ZERO; filled + padding];
        for (i, value) in source[source_start..source_start + cells].iter().enumerate() {
            expected[i << log_stride] = *value;
        }
        let expected: Vec<F> = expected.chunks(1 << l_skip).flat_map(|c| host_rs_message(l_skip, c)).collect();
        let mut rec = gpu.recorder("test");
        let source = rec.gpu().upload(&source, "source").unwrap();
        let panel = rec.gpu().upload(&vec![F::TWO; target_start + expected.len() + 1], "panel").unwrap();
        let run = CellRun { source: &source, source_start, log_stride, target_start, filled, padding };
        encode_chunks(&mut rec, &run, &panel, l_skip).unwrap();
        rec.submit().unwrap();
        let found = gpu.download(&panel).unwrap();
        assert_eq!(found[target_start..target_start + expected.len()], expected);
        assert!(found[..target_start].iter().chain(found.last()).all(|x| *x == F::TWO));
    }
}
