//! The Merkle tree over a guest's memory, as far as it is not zero, kept from segment to segment.
//!
//! Upstream's chip hashes all memory up to the last page in use for each segment. This tree knows what memory it is of: for the next
//! segment it hashes what has changed, on all threads, and nothing where there are only zeros.

use std::{array, collections::HashMap};

use openvm_circuit::{
    arch::{hasher::Hasher, AddressSpaceHostConfig, AddressSpaceHostLayout},
    system::memory::{
        dimensions::MemoryDimensions,
        online::{AddressMap, LinearMemory},
        CHUNK,
    },
};
use openvm_stark_backend::p3_symmetric::Permutation;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::stages::transcript::HostPoseidon2;

/// Contents or hash of a node.
pub(super) type Digest = [F; CHUNK];

/// Height of the subtrees that are not stored, and hashed anew where a segment touches them. Hashes of everything would take eight times the
/// guest's memory; so they take half of it.
const BLOCK_HEIGHT: usize = 4;

/// Height of the subtrees that are stored together, if they are not zero.
const PAGE_HEIGHT: usize = 9;

const BLOCK_LEAVES: usize = 1 << BLOCK_HEIGHT;
const PAGE_LEAVES: usize = 1 << PAGE_HEIGHT;
const PAGE_BLOCKS: usize = PAGE_LEAVES / BLOCK_LEAVES;

/// Nodes of a block, from its root down.
pub(super) type Block = [Digest; 2 * BLOCK_LEAVES - 1];

/// Nodes of a page, from its root down to the roots of its blocks.
type Page = Box<[Digest; 2 * PAGE_BLOCKS - 1]>;

/// The permutation by which memory is hashed.
pub(super) struct MemoryHasher;

impl Hasher<CHUNK, F> for MemoryHasher {
    fn compress(&self, left: &Digest, right: &Digest) -> Digest {
        let mut state: [F; 2 * CHUNK] = array::from_fn(|i| if i < CHUNK { left[i] } else { right[i - CHUNK] });
        HostPoseidon2.permute_mut(&mut state);
        array::from_fn(|i| state[i])
    }
}

/// See the module.
pub(super) struct MemoryTree {
    dimensions: MemoryDimensions,
    /// Roots of subtrees of zeros, by their height.
    zeros: Vec<Digest>,
    /// By their number among all address spaces' pages.
    pages: HashMap<u64, Page>,
    /// Nodes above the pages' roots that are not zero, by their index: the root has 1, the children of `i` have `2 i` and `2 i + 1`.
    upper: HashMap<u64, Digest>,
    memory: AddressMap,
}

impl MemoryTree {
    /// Whether there can be such a tree: address spaces must not be smaller than a page.
    pub(super) fn fits(dimensions: &MemoryDimensions) -> bool {
        dimensions.address_height >= PAGE_HEIGHT
    }

    /// The tree of a memory, which may end before its last zeros.
    pub(super) fn new(dimensions: MemoryDimensions, memory: AddressMap) -> Self {
        let mut zeros = vec![MemoryHasher.hash(&[F::ZERO; CHUNK])];
        for height in 0..dimensions.overall_height() {
            zeros.push(MemoryHasher.compress(&zeros[height], &zeros[height]));
        }
        let nothing = AddressMap { mem: vec![], config: memory.config.clone() };
        let mut tree = Self { dimensions, zeros, pages: HashMap::new(), upper: HashMap::new(), memory: nothing };
        tree.update(memory);
        tree
    }

    pub(super) fn height(&self) -> usize {
        self.dimensions.overall_height()
    }

    pub(super) fn dimensions(&self) -> &MemoryDimensions {
        &self.dimensions
    }

    /// The index of a leaf, which is the chunk number `label` of an address space.
    pub(super) fn leaf(&self, space: u32, label: u32) -> u64 {
        (1 << self.height()) + self.dimensions.label_to_index((space, label))
    }

    /// Turns this into the tree of another memory.
    pub(super) fn update(&mut self, memory: AddressMap) {
        let this = &*self;
        let changed: Vec<(u64, Option<Page>)> = (1..memory.mem.len())
            .into_par_iter()
            .flat_map(|space| {
                let (old, new) = (bytes_of(&this.memory, space), bytes_of(&memory, space));
                let page_bytes = PAGE_LEAVES * leaf_bytes(&memory.config[space]);
                let pages = old.len().max(new.len()).div_ceil(page_bytes);
                let pages = pages.min(1 << (this.dimensions.address_height - PAGE_HEIGHT));
                let first = this.dimensions.label_to_index((space as u32, 0)) >> PAGE_HEIGHT;
                let config = &memory.config[space];
                (0..pages).into_par_iter().filter_map(move |page| {
                    let (old, new) = (part(old, page, page_bytes), part(new, page, page_bytes));
                    let number = first + page as u64;
                    (!equal(old, new)).then(|| (number, this.page(number, config, old, new)))
                })
            })
            .collect();
        let mut changed: Vec<u64> = changed
            .into_iter()
            .map(|(number, page)| {
                match page {
                    Some(page) => self.pages.insert(number, page),
                    None => self.pages.remove(&number),
                };
                (1 << (self.height() - PAGE_HEIGHT)) + number
            })
            .collect();
        changed.sort_unstable();
        for height in PAGE_HEIGHT + 1..=self.height() {
            changed.iter_mut().for_each(|index| *index >>= 1);
            changed.dedup();
            let parents: Vec<Digest> = changed.par_iter().map(|index| self.parent(*index, height)).collect();
            for (index, digest) in changed.iter().zip(parents) {
                if digest == self.zeros[height] {
                    self.upper.remove(index);
                } else {
                    self.upper.insert(*index, digest);
                }
            }
        }
        self.memory = memory;
    }

    /// The nodes of a page with the contents `new`, where it had `old`; nothing if it is all zero.
    fn page(&self, number: u64, config: &AddressSpaceHostConfig, old: &[u8], new: &[u8]) -> Option<Page> {
        if is_zero(new) {
            return None;
        }
        let mut page: Page = Box::new([self.zeros[0]; 2 * PAGE_BLOCKS - 1]);
        let before = self.pages.get(&number);
        let block_bytes = BLOCK_LEAVES * leaf_bytes(config);
        for block in 0..PAGE_BLOCKS {
            let (old, new) = (part(old, block, block_bytes), part(new, block, block_bytes));
            let at = PAGE_BLOCKS - 1 + block;
            page[at] = match before {
                Some(before) if equal(old, new) => before[at],
                _ if is_zero(new) => self.zeros[BLOCK_HEIGHT],
                _ => self.block_of(config, new)[0],
            };
        }
        for node in (0..PAGE_BLOCKS - 1).rev() {
            let height = PAGE_HEIGHT - (node + 1).ilog2() as usize;
            page[node] = self.combine(&page[2 * node + 1], &page[2 * node + 2], height);
        }
        Some(page)
    }

    /// The nodes of a block with these contents.
    fn block_of(&self, config: &AddressSpaceHostConfig, bytes: &[u8]) -> Block {
        let mut block = [self.zeros[0]; 2 * BLOCK_LEAVES - 1];
        for leaf in 0..BLOCK_LEAVES {
            let bytes = part(bytes, leaf, leaf_bytes(config));
            if !is_zero(bytes) {
                block[BLOCK_LEAVES - 1 + leaf] = MemoryHasher.hash(&values(config, bytes));
            }
        }
        for node in (0..BLOCK_LEAVES - 1).rev() {
            let height = BLOCK_HEIGHT - (node + 1).ilog2() as usize;
            block[node] = self.combine(&block[2 * node + 1], &block[2 * node + 2], height);
        }
        block
    }

    /// The nodes of the block with this root.
    pub(super) fn block(&self, root: u64) -> Block {
        let index = (root << BLOCK_HEIGHT) - (1 << self.height());
        let (space, label) = self.dimensions.index_to_label(index);
        let config = &self.memory.config[space as usize];
        let bytes = bytes_of(&self.memory, space as usize);
        self.block_of(config, part(bytes, label as usize / BLOCK_LEAVES, BLOCK_LEAVES * leaf_bytes(config)))
    }

    /// The root of the block that a leaf belongs to.
    pub(super) fn block_root(leaf: u64) -> u64 {
        leaf >> BLOCK_HEIGHT
    }

    /// What a chunk of memory has.
    pub(super) fn values(&self, space: u32, label: u32) -> Digest {
        let config = &self.memory.config[space as usize];
        values(config, part(bytes_of(&self.memory, space as usize), label as usize, leaf_bytes(config)))
    }

    /// A node; those within blocks are in `block`.
    pub(super) fn node<'a>(&'a self, index: u64, block: impl FnOnce(u64) -> &'a Block) -> &'a Digest {
        let height = self.height() - index.ilog2() as usize;
        let within = |root_height: usize| {
            let level = root_height - height;
            (index >> level, (1 << level) - 1 + (index & ((1 << level) - 1)) as usize)
        };
        if height < BLOCK_HEIGHT {
            let (root, at) = within(BLOCK_HEIGHT);
            &block(root)[at]
        } else if height <= PAGE_HEIGHT {
            let (root, at) = within(PAGE_HEIGHT);
            let number = root - (1 << (self.height() - PAGE_HEIGHT));
            self.pages.get(&number).map_or(&self.zeros[height], |page| &page[at])
        } else {
            self.upper.get(&index).unwrap_or(&self.zeros[height])
        }
    }

    /// A node that is above all blocks.
    pub(super) fn upper_node(&self, index: u64) -> &Digest {
        self.node(index, |_| unreachable!("a node within a block"))
    }

    fn parent(&self, index: u64, height: usize) -> Digest {
        self.combine(self.upper_node(2 * index), self.upper_node(2 * index + 1), height)
    }

    fn combine(&self, left: &Digest, right: &Digest, height: usize) -> Digest {
        let zero = &self.zeros[height - 1];
        if left == zero && right == zero {
            self.zeros[height]
        } else {
            MemoryHasher.compress(left, right)
        }
    }
}

fn bytes_of(memory: &AddressMap, space: usize) -> &[u8] {
    memory.mem.get(space).map_or(&[], |space| space.as_slice())
}

fn leaf_bytes(config: &AddressSpaceHostConfig) -> usize {
    CHUNK * config.layout.size()
}

/// Part number `index` of memory that may end within it or before.
fn part(bytes: &[u8], index: usize, size: usize) -> &[u8] {
    &bytes[bytes.len().min(index * size)..bytes.len().min((index + 1) * size)]
}

/// Whether contents are the same, where what ends first has zeros.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let len = a.len().min(b.len());
    a[..len] == b[..len] && is_zero(&a[len..]) && is_zero(&b[len..])
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |bits, byte| bits | byte) == 0
}

/// The values of a leaf's cells; those that `bytes` has no more are zero.
fn values(config: &AddressSpaceHostConfig, bytes: &[u8]) -> Digest {
    let mut cells = bytes.chunks_exact(config.layout.size());
    // SAFETY: the cells have their size, are aligned since address spaces are, and F is plain data
    array::from_fn(|_| cells.next().map_or(F::ZERO, |cell| unsafe { config.layout.to_field(cell) }))
}
