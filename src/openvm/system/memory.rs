//! Traces of the boundary and Merkle AIRs: rows as upstream's chips make them, in the same order, from a tree that is kept.

use std::{borrow::BorrowMut, collections::HashMap};

use openvm_circuit::{
    arch::{hasher::Hasher, DEFAULT_BLOCK_SIZE},
    system::{
        memory::{
            dimensions::MemoryDimensions,
            merkle::MemoryMerkleCols,
            online::{AddressMap, INITIAL_TIMESTAMP},
            persistent::{PersistentBoundaryCols, BLOCKS_PER_CHUNK},
            CHUNK,
        },
        TouchedMemory,
    },
};
use openvm_stark_backend::{p3_matrix::dense::RowMajorMatrix, prover::AirProvingContext};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use super::{
    poseidon2::compression,
    tree::{Block, Digest, MemoryHasher, MemoryTree},
    HostBackend,
};
use crate::kernels::openvm::Request;

type MerkleRow = MemoryMerkleCols<F, CHUNK>;
type BoundaryRow = PersistentBoundaryCols<F, CHUNK>;

const MERKLE_WIDTH: usize = size_of::<MerkleRow>() / size_of::<F>();
const BOUNDARY_WIDTH: usize = size_of::<BoundaryRow>() / size_of::<F>();

/// The memory chips of a machine.
#[derive(Default)]
pub(super) struct MemoryChips {
    tree: Option<MemoryTree>,
    /// The nodes above the address spaces' roots, and those, after the last segment; from the root down.
    top_tree: Vec<Digest>,
    /// Heights that traces shall have, of the boundary and the Merkle AIR.
    heights: Option<[usize; 2]>,
}

/// A chunk of memory that the segment has touched.
struct Touched {
    space: u32,
    label: u32,
    values: [Digest; 2],
    hashes: [Digest; 2],
    timestamps: [u32; BLOCKS_PER_CHUNK],
}

/// A node on the way from touched leaves to the root, with what the segment begins and what it ends with.
#[derive(Clone, Copy)]
struct Node {
    index: u64,
    old: Digest,
    new: Digest,
}

/// What has been made of the memory.
pub(super) struct MemoryTraces {
    pub boundary: AirProvingContext<HostBackend>,
    pub merkle: AirProvingContext<HostBackend>,
    pub requests: Vec<Request<1>>,
}

impl MemoryChips {
    pub(super) fn set_heights(&mut self, boundary: usize, merkle: usize) {
        self.heights = Some([boundary, merkle]);
    }

    pub(super) fn top_tree(&self) -> Option<&[Digest]> {
        (!self.top_tree.is_empty()).then_some(&self.top_tree)
    }

    /// The traces of a segment that begins with the memory `initial`, which may end before its last zeros.
    pub(super) fn generate(
        &mut self,
        dimensions: MemoryDimensions,
        initial: AddressMap,
        touched: &TouchedMemory<F>,
    ) -> MemoryTraces {
        let tree = match self.tree.take() {
            Some(mut tree) => {
                tree.update(initial);
                tree
            }
            None => MemoryTree::new(dimensions, initial),
        };
        let touched = chunks(&tree, touched);
        let [boundary_height, merkle_height] = self.heights.map_or([None; 2], |heights| heights.map(Some));
        let boundary = boundary_trace(&touched, boundary_height);
        let mut requests: Vec<Request<1>> = touched
            .par_iter()
            .flat_map_iter(|chunk| requests_of(chunk.values.map(|v| (v, [F::ZERO; CHUNK]))))
            .collect();
        let layers = layers(&tree, &touched, &mut requests);
        let merkle = merkle_trace(&tree, &layers, touched.is_empty(), merkle_height);
        self.top_tree = top_tree(&tree, &layers);
        self.tree = Some(tree);
        MemoryTraces { boundary, merkle, requests }
    }
}

/// Two requests that are often the same.
fn requests_of([old, new]: [(Digest, Digest); 2]) -> impl Iterator<Item = Request<1>> {
    let same = old == new;
    let times = if same { 2 } else { 1 };
    [Some(compression(old, times)), (!same).then(|| compression(new, times))].into_iter().flatten()
}

/// What was touched, by chunks, in order.
fn chunks(tree: &MemoryTree, touched: &TouchedMemory<F>) -> Vec<Touched> {
    let chunk_of = |((space, pointer), _): &((u32, u32), _)| (*space, pointer / CHUNK as u32);
    debug_assert!(touched.is_sorted_by_key(chunk_of));
    let groups: Vec<_> = touched.chunk_by(|a, b| chunk_of(a) == chunk_of(b)).collect();
    let chunks = groups.into_par_iter().map(|blocks| {
        let (space, label) = chunk_of(&blocks[0]);
        let old = tree.values(space, label);
        let (mut new, mut timestamps) = (old, [INITIAL_TIMESTAMP; BLOCKS_PER_CHUNK]);
        for ((_, pointer), block) in blocks {
            let at = *pointer as usize % CHUNK;
            timestamps[at / DEFAULT_BLOCK_SIZE] = block.timestamp;
            new[at..][..DEFAULT_BLOCK_SIZE].copy_from_slice(&block.values);
        }
        let hash = MemoryHasher.hash(&old);
        let hashes = [hash, if new == old { hash } else { MemoryHasher.hash(&new) }];
        Touched { space, label, values: [old, new], hashes, timestamps }
    });
    chunks.collect()
}

/// The height of a trace of `rows` rows that shall have `height`.
fn padded(rows: usize, height: Option<usize>) -> usize {
    let rows = rows.next_power_of_two();
    let height = height.map_or(rows, usize::next_power_of_two);
    assert!(height >= rows, "a height of {height} is set for a trace of {rows} rows");
    height
}

fn boundary_trace(touched: &[Touched], height: Option<usize>) -> AirProvingContext<HostBackend> {
    // one row at least, so that the Merkle AIR keeps its number
    let height = padded(2 * touched.len(), height);
    let mut rows = F::zero_vec(height * BOUNDARY_WIDTH);
    rows.par_chunks_mut(2 * BOUNDARY_WIDTH).zip(touched).for_each(|(rows, chunk)| {
        for (end, row) in rows.chunks_mut(BOUNDARY_WIDTH).enumerate() {
            *row.borrow_mut() = BoundaryRow {
                expand_direction: [F::ONE, F::NEG_ONE][end],
                address_space: F::from_u32(chunk.space),
                leaf_label: F::from_u32(chunk.label),
                values: chunk.values[end],
                hash: chunk.hashes[end],
                timestamps: [[INITIAL_TIMESTAMP; BLOCKS_PER_CHUNK], chunk.timestamps][end].map(F::from_u32),
            };
        }
    });
    AirProvingContext::simple_no_pis(RowMajorMatrix::new(rows, BOUNDARY_WIDTH))
}

/// A parent of touched nodes, with its children.
struct Parent {
    node: Node,
    children: [Child; 2],
}

#[derive(Clone, Copy)]
struct Child {
    old: Digest,
    new: Digest,
    touched: bool,
}

/// The parents of what was touched, from those of leaves up to the root, each layer in order; notes which compressions they need.
fn layers(tree: &MemoryTree, touched: &[Touched], requests: &mut Vec<Request<1>>) -> Vec<Vec<Parent>> {
    let mut nodes: Vec<Node> = touched
        .par_iter()
        .map(|chunk| Node { index: tree.leaf(chunk.space, chunk.label), old: chunk.hashes[0], new: chunk.hashes[1] })
        .collect();
    let untouched = 1 << tree.height();
    if nodes.is_empty() {
        // there is a root all the same
        nodes.push(Node { index: untouched, old: [F::ZERO; CHUNK], new: [F::ZERO; CHUNK] });
    }
    let mut roots: Vec<u64> = nodes.iter().map(|node| MemoryTree::block_root(node.index)).collect();
    roots.dedup();
    let blocks: HashMap<u64, Block> = roots.into_par_iter().map(|root| (root, tree.block(root))).collect();
    let at = |index| tree.node(index, |root| &blocks[&root]);
    if touched.is_empty() {
        let leaf = *at(untouched);
        nodes[0] = Node { index: untouched, old: leaf, new: leaf };
    }
    let mut layers = Vec::with_capacity(tree.height());
    for _ in 0..tree.height() {
        let siblings: Vec<&[Node]> = nodes.chunk_by(|a, b| a.index ^ b.index == 1).collect();
        let parents: Vec<Parent> = siblings.into_par_iter().map(|siblings| parent(siblings, at)).collect();
        requests.par_extend(parents.par_iter().flat_map_iter(|parent| {
            let [left, right] = parent.children;
            requests_of([(left.old, right.old), (left.new, right.new)])
        }));
        nodes = parents.iter().map(|parent| parent.node).collect();
        layers.push(parents);
    }
    layers
}

/// The parent of one or two touched nodes.
fn parent<'a>(siblings: &[Node], at: impl Fn(u64) -> &'a Digest) -> Parent {
    let index = siblings[0].index / 2;
    let children = [0, 1].map(|side| {
        let child = 2 * index + side;
        match siblings.iter().find(|node| node.index == child) {
            Some(node) => Child { old: node.old, new: node.new, touched: true },
            None => {
                let digest = *at(child);
                Child { old: digest, new: digest, touched: false }
            }
        }
    });
    let [left, right] = &children;
    let old = *at(index);
    let unchanged = left.old == left.new && right.old == right.new;
    let new = if unchanged { old } else { MemoryHasher.compress(&left.new, &right.new) };
    Parent { node: Node { index, old, new }, children }
}

/// The root's rows come first, those of the beginning before those of the end; then, in each layer, the end's before the beginning's.
fn merkle_trace(
    tree: &MemoryTree,
    layers: &[Vec<Parent>],
    nothing_touched: bool,
    height: Option<usize>,
) -> AirProvingContext<HostBackend> {
    let rows = 2 * layers.iter().map(Vec::len).sum::<usize>();
    let mut trace = F::zero_vec(padded(rows, height) * MERKLE_WIDTH);
    let mut rest = &mut trace[..];
    for (layer, parents) in layers.iter().enumerate().rev() {
        let height = layer + 1;
        let (layer, below) = rest.split_at_mut(2 * parents.len() * MERKLE_WIDTH);
        rest = below;
        let labels = Labels::new(tree, height);
        layer.par_chunks_mut(2 * MERKLE_WIDTH).zip(parents.par_iter().rev()).for_each(|(rows, parent)| {
            let (first, second) = rows.split_at_mut(MERKLE_WIDTH);
            let (old, new) = if height == layers.len() { (first, second) } else { (second, first) };
            *old.borrow_mut() = labels.row(parent, true);
            *new.borrow_mut() = labels.row(parent, false);
        });
    }
    if nothing_touched {
        // the leaf that stands for what was touched was not
        let first_layer: &mut MerkleRow = trace[(rows - 2) * MERKLE_WIDTH..][..MERKLE_WIDTH].borrow_mut();
        first_layer.left_direction_different = F::ONE;
        first_layer.right_direction_different = F::ONE;
    }
    let root = &layers.last().expect("a tree has a root")[0].node;
    let public_values = root.old.into_iter().chain(root.new).collect();
    AirProvingContext::simple(RowMajorMatrix::new(trace, MERKLE_WIDTH), public_values)
}

/// What the rows of a layer have in common, and how its nodes are called.
struct Labels {
    height: F,
    height_inverse: F,
    height_section: F,
    is_root: F,
    /// Bits of an index that name the node within its address space.
    address_bits: usize,
    /// The bit of an index that is above the node's name.
    above: u64,
}

impl Labels {
    fn new(tree: &MemoryTree, height: usize) -> Self {
        let address_height = tree.dimensions().address_height;
        Self {
            height: F::from_usize(height),
            height_inverse: F::from_usize(height).inverse(),
            height_section: F::from_bool(height > address_height),
            is_root: F::from_bool(height == tree.height()),
            address_bits: address_height.saturating_sub(height),
            above: 1 << (tree.height() - height),
        }
    }

    fn row(&self, parent: &Parent, is_old: bool) -> MerkleRow {
        let Parent { node, children: [left, right] } = parent;
        let different = |child: &Child| F::from_bool(!is_old && !child.touched);
        let hash = |old: &Digest, new: &Digest| if is_old { *old } else { *new };
        MerkleRow {
            expand_direction: if is_old { F::ONE } else { F::NEG_ONE },
            height_section: self.height_section,
            parent_height: self.height,
            parent_height_inv: self.height_inverse,
            is_root: self.is_root,
            parent_as_label: F::from_u32(((node.index & !self.above) >> self.address_bits) as u32),
            parent_address_label: F::from_u32((node.index & ((1 << self.address_bits) - 1)) as u32),
            parent_hash: hash(&node.old, &node.new),
            left_child_hash: hash(&left.old, &left.new),
            right_child_hash: hash(&right.old, &right.new),
            left_direction_different: different(left),
            right_direction_different: different(right),
        }
    }
}

/// The final nodes down to the address spaces' roots.
fn top_tree(tree: &MemoryTree, layers: &[Vec<Parent>]) -> Vec<Digest> {
    let nodes = (2 << tree.dimensions().addr_space_height) - 1;
    let mut top: Vec<Digest> = (1..=nodes).map(|index| *tree.upper_node(index)).collect();
    let touched = layers.iter().rev().flatten().take_while(|parent| parent.node.index <= nodes);
    touched.for_each(|parent| top[parent.node.index as usize - 1] = parent.node.new);
    top
}
