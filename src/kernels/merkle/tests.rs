//! Trees and openings against upstream's `MerkleTree`.

use openvm_stark_backend::{
    hasher::Hasher,
    p3_symmetric::{PaddingFreeSponge, TruncatedPermutation},
    prover::{stacked_pcs::MerkleTree as HostTree, ColMajorMatrix},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};
use p3_baby_bear::{default_babybear_poseidon2_16, Poseidon2BabyBear};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{
    gpu::{testing, Recorder},
    kernels::transcript::Observed,
};

type Perm = Poseidon2BabyBear<16>;

pub(crate) fn host_hasher() -> Hasher<F, Digest, PaddingFreeSponge<Perm, 16, 8, 8>, TruncatedPermutation<Perm, 2, 8, 16>>
{
    let perm = default_babybear_poseidon2_16();
    Hasher::new(PaddingFreeSponge::new(perm.clone()), TruncatedPermutation::new(perm))
}

fn random(rng: &mut StdRng, len: usize) -> Vec<F> {
    (0..len).map(|_| F::from_u32(rng.random())).collect()
}

/// The tree over a matrix that is absorbed in panels of `panel_width` columns, which stay on the device for openings.
fn device_tree(
    rec: &mut Recorder,
    matrix: &ColMajorMatrix<F>,
    height: usize,
    (panel_width, rows_per_query): (usize, usize),
) -> (MerkleTree, Vec<DeviceBuffer<F>>) {
    let width = matrix.values.len() / height;
    let mut sponges = RowSponges::new(rec.gpu(), height, width, panel_width).unwrap();
    let panels: Vec<_> =
        matrix.values.chunks(panel_width * height).map(|p| rec.gpu().upload(p, "panel").unwrap()).collect();
    for panel in &panels {
        sponges.absorb(rec, Panel::columns(panel, panel.len() / height, height)).unwrap();
    }
    (MerkleTree::from_rows(rec, sponges.finish(), rows_per_query).unwrap(), panels)
}

#[test]
fn trees_equal_upstreams() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(1);
    // (height, width, panel width, rows per query)
    let shapes = [
        (1, 1, 8, 1),
        (2, 8, 8, 2),
        (8, 9, 8, 4),
        (64, 7, 8, 1),
        (64, 24, 8, 64),
        (256, 42, 16, 16),
        (512, 17, 1, 2),
        (1024, 11, 2, 8),
        (2048, 13, 4, 4),
        (4096, 3, 8, 2),
        (32768, 10, 8, 1),
    ];
    for (height, width, panel_width, rows_per_query) in shapes {
        let matrix = ColMajorMatrix::new(random(&mut rng, height * width), width);
        let mut rec = gpu.recorder("test");
        let (tree, panels) = device_tree(&mut rec, &matrix, height, (panel_width, rows_per_query));
        let queries: Vec<F> = random(&mut rng, 9);
        let tape = rec.gpu().upload(&queries, "tape").unwrap();
        let queries_at = Observed::new(&tape, 2, 7);
        let opened = gpu.alloc(7 * rows_per_query * width, "opened").unwrap();
        for (i, panel) in panels.iter().enumerate() {
            let panel = Panel::columns(panel, panel.len() / height, height);
            let (tree, queries, opened, first_column) = (&tree, &queries_at, &opened, i * panel_width);
            OpenRows { tree, queries, panel, opened, first_column, width }.record(&mut rec);
        }
        let paths = tree.open_paths(&mut rec, &queries_at).unwrap();
        let tickets = (rec.download(tree.nodes()), rec.download(tree.root()), rec.download(&opened));
        let paths = rec.download(&paths);
        let done = rec.wait().unwrap();

        let host = HostTree::new(&host_hasher(), matrix, rows_per_query).unwrap();
        let mut nodes = done.take(tickets.0).unwrap();
        nodes.pop();
        assert!(nodes == host.digest_layers().concat(), "{height} x {width}, panels of {panel_width}");
        assert_eq!(done.take(tickets.1).unwrap(), [host.root().unwrap()]);
        let leaves: Vec<_> = queries[2..].iter().map(|q| q.as_canonical_u32() as usize % tree.query_stride()).collect();
        let rows = leaves.iter().flat_map(|leaf| host.get_opened_rows(*leaf).unwrap());
        assert!(done.take(tickets.2).unwrap() == rows.flatten().collect::<Vec<_>>());
        let expected = leaves.iter().flat_map(|leaf| host.query_merkle_proof(*leaf).unwrap());
        assert!(done.take(paths).unwrap() == expected.collect::<Vec<_>>());
    }
}

#[test]
fn trees_over_extension_columns() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(2);
    for (height, rows_per_query) in [(1, 1), (16, 16), (512, 8), (8192, 16)] {
        let column: Vec<EF> =
            (0..height).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect();
        let mut rec = gpu.recorder("test");
        let codeword = rec.gpu().upload(&column, "codeword").unwrap();
        let tree = MerkleTree::from_ext(&mut rec, &codeword, rows_per_query).unwrap();
        let queries = random(&mut rng, 3);
        let tape = rec.gpu().upload(&queries, "tape").unwrap();
        let queries_at = Observed::new(&tape, 0, 3);
        let opened = tree.open_ext_rows(&mut rec, &codeword, &queries_at).unwrap();
        let (root, opened) = (rec.download(tree.root()), rec.download(&opened));
        let done = rec.wait().unwrap();
        let host = HostTree::new(&host_hasher(), ColMajorMatrix::new(column, 1), rows_per_query).unwrap();
        assert_eq!(done.take(root).unwrap(), [host.root().unwrap()]);
        let leaves = queries.iter().map(|q| q.as_canonical_u32() as usize % tree.query_stride());
        let rows = leaves.flat_map(|leaf| host.get_opened_rows(leaf).unwrap()).flatten();
        assert_eq!(done.take(opened).unwrap(), rows.collect::<Vec<EF>>());
    }
}

/// All numbers of layers, whichever kernels they are shared out between.
#[test]
fn trees_of_all_heights() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(3);
    let column: Vec<EF> = (0..1 << 16).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect();
    for height in (0..=16).map(|log_height| 1 << log_height) {
        let column = column[..height].to_vec();
        let mut rec = gpu.recorder("test");
        let codeword = rec.gpu().upload(&column, "codeword").unwrap();
        let tree = MerkleTree::from_ext(&mut rec, &codeword, 1).unwrap();
        let (nodes, root) = (rec.download(tree.nodes()), rec.download(tree.root()));
        let done = rec.wait().unwrap();
        let host = HostTree::new(&host_hasher(), ColMajorMatrix::new(column, 1), 1).unwrap();
        let nodes = done.take(nodes).unwrap();
        for (layer, expected) in host.digest_layers().iter().enumerate() {
            let start = 2 * height - ((2 * height) >> layer);
            assert!(nodes[start..][..expected.len()] == expected[..], "layer {layer} of {height} leaves");
        }
        assert_eq!(done.take(root).unwrap(), [host.root().unwrap()]);
    }
}

#[test]
fn rows_per_query_must_divide_the_rows() {
    let gpu = testing::gpu();
    for rows_per_query in [0, 3, 8] {
        let mut rec = gpu.recorder("test");
        let codeword = rec.gpu().upload(&[EF::ONE; 4], "codeword").unwrap();
        assert!(MerkleTree::from_ext(&mut rec, &codeword, rows_per_query).is_err());
    }
}
