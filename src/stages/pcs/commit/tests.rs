//! Commitments and openings against upstream's `stacked_commit`.

use openvm_stark_backend::prover::{
    stacked_pcs::{stacked_commit, StackedPcsData},
    ColMajorMatrix,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::default_duplex_sponge;
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{gpu::testing, kernels::merkle::tests::host_hasher, stages::transcript::Transcript};

/// (height, width) of each trace.
type Shapes<'a> = &'a [(usize, usize)];

struct Case {
    host_root: Digest,
    host: StackedPcsData<F, Digest>,
    traces: Vec<DeviceMatrix<F>>,
}

fn params([l_skip, n_stack, log_blowup, k_whir]: [usize; 4]) -> CommitParams {
    CommitParams { l_skip, n_stack, log_blowup, k_whir, cache_rs_code_matrix: false }
}

fn case(gpu: &Gpu, seed: u64, params: &CommitParams, shapes: Shapes<'_>) -> Case {
    let mut rng = StdRng::seed_from_u64(seed);
    let host: Vec<ColMajorMatrix<F>> = shapes
        .iter()
        .map(|(height, width)| {
            ColMajorMatrix::new((0..height * width).map(|_| F::from_u32(rng.random())).collect(), *width)
        })
        .collect();
    let traces = host
        .iter()
        .zip(shapes)
        .map(|(t, (height, width))| DeviceMatrix::upload(gpu, &t.values, *height, *width, "trace").unwrap())
        .collect();
    let &CommitParams { l_skip, n_stack, log_blowup, k_whir, .. } = params;
    let refs: Vec<_> = host.iter().collect();
    let (host_root, host) = stacked_commit(&host_hasher(), l_skip, n_stack, log_blowup, k_whir, &refs).unwrap();
    Case { host_root, host, traces }
}

const CASES: [([usize; 4], Shapes<'static>); 10] = [
    ([0, 0, 1, 0], &[(1, 1)]),
    ([0, 4, 2, 3], &[(16, 1), (8, 3), (1, 5)]),
    ([1, 2, 1, 4], &[(8, 9), (1, 3)]),
    ([2, 9, 3, 4], &[(2048, 17), (1024, 1), (4, 3), (2, 5)]),
    ([3, 6, 1, 2], &[(512, 8)]),
    ([4, 0, 1, 1], &[(16, 7), (8, 2), (1, 30)]),
    ([4, 9, 1, 4], &[(4096, 100), (512, 3), (16, 4), (8, 7), (1, 33)]),
    ([5, 6, 4, 4], &[(2048, 2), (64, 9)]),
    ([8, 4, 2, 3], &[(4096, 10), (32, 3)]),
    ([9, 3, 1, 4], &[(2048, 25), (512, 1), (16, 6)]),
];

#[test]
fn roots_equal_upstreams() {
    let gpu = testing::gpu();
    for (seed, (values, shapes)) in CASES.into_iter().enumerate() {
        let params = params(values);
        let case = case(&gpu, seed as u64, &params, shapes);
        let (root, data) = commit(&gpu, params, &case.traces.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(root, case.host_root, "{params:?} {shapes:?}");
        assert_eq!(data.root(), root);
        let matrix = &case.host.matrix.values;
        let (height, width) = (data.stacked.height(), data.stacked.width());
        let whole = DeviceMatrix::upload(&gpu, matrix, height, width, "stacked").unwrap();
        let whole = StackedMatrix::from_stacked(case.host.layout.clone(), whole).unwrap();
        assert_eq!(commit_stacked(&gpu, &params, whole).unwrap().0, root);
    }
}

#[test]
fn openings_equal_upstreams() {
    let gpu = testing::gpu();
    for (seed, (values, shapes)) in CASES.into_iter().enumerate() {
        let mut params = params(values);
        let case = case(&gpu, seed as u64, &params, shapes);
        for cache_rs_code_matrix in [false, true] {
            params.cache_rs_code_matrix = cache_rs_code_matrix;
            let (root, data) = commit(&gpu, params, &case.traces.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(root, case.host_root);
            check_openings(&gpu, &data, &case.host);
        }
    }
}

/// From no codewords made ahead to all of them; they go when they were opened.
#[test]
fn openings_use_what_was_encoded_ahead() {
    let gpu = testing::gpu();
    let (values, shapes) = CASES[3];
    let params = params(values);
    let case = case(&gpu, 3, &params, shapes);
    let (_, data) = commit(&gpu, params, &case.traces.iter().collect::<Vec<_>>()).unwrap();
    let panel = PanelEncoder::with_panels(RATE, &data.stacked, data.log_blowup).panel_bytes();
    let tree = data.bytes();
    for (bytes, panels) in [(0, 0), (panel, 0), (2 * panel, 1), (3 * panel, 2), (100 * panel, 3)] {
        let mut rec = gpu.recorder("test");
        data.make_panels(&mut rec, bytes, &mut data.codewords.panels()).unwrap();
        assert_eq!(data.codewords.panels().len(), panels);
        check_openings(&gpu, &data, &case.host);
        assert_eq!(data.bytes(), tree);
    }
}

fn check_openings(gpu: &Gpu, data: &PcsData, host: &StackedPcsData<F, Digest>) {
    let mut sponge = default_duplex_sponge();
    let mut tx = Transcript::new(gpu, &mut sponge).unwrap();
    let mut rec = gpu.recorder("test");
    tx.sample_ext(&mut rec).unwrap();
    let sampled = tx.sample_words(&mut rec, 11).unwrap();
    let rows = data.open_rows(&mut rec, &sampled).unwrap();
    let paths = data.tree.open_paths(&mut rec, &sampled).unwrap();
    let (rows, paths) = (rec.download(&rows), rec.download(&paths));
    let done = tx.sync(rec).unwrap();
    let indices: Vec<_> = tx
        .values(&sampled)
        .iter()
        .map(|word| word.as_canonical_u32() as usize & (data.tree.query_stride() - 1))
        .collect();
    let expected = indices.iter().flat_map(|index| host.tree.get_opened_rows(*index).unwrap());
    assert!(done.take(rows).unwrap() == expected.flatten().collect::<Vec<_>>());
    let expected = indices.iter().flat_map(|index| host.tree.query_merkle_proof(*index).unwrap());
    assert!(done.take(paths).unwrap() == expected.collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_committed_is_named() {
    let gpu = testing::gpu();
    let trace = DeviceMatrix::upload(&gpu, &[F::ONE; 8], 8, 1, "trace").unwrap();
    for (values, what) in [
        ([0, 3, 25, 1], "2^28"),
        ([10, 0, 1, 1], "l_skip = 10"),
        ([0, 3, 1, 5], "rows a query"),
        ([0, 2, 1, 1], "stacked matrix only 4"),
    ] {
        let error = commit(&gpu, params(values), &[&trace]).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
    // and the device is as usable as before
    let params = params([0, 3, 1, 1]);
    assert_eq!(commit(&gpu, params, &[&trace]).unwrap().0, commit(&gpu, params, &[&trace]).unwrap().0);
}
