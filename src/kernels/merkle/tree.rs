//! From row digests to the root (`wgsl/merkle/{bundle,tree,tree_lanes}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};

use super::{sponge::RowDigests, Panel, RowSponges};
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::poseidon2::round_constants,
};

kernel! {
    /// dst[x stride + y] = compress(left[2 x stride + y], right[2 x stride + y])
    struct Bundle("merkle/bundle.wgsl", workgroup = 128) {
        buffers { read left: Digest, read right: Digest, write dst: Digest, constant round_constants: F as RoundConstants }
        params { len, log_stride, left_start, right_start, dst_start }
    }
}

kernel! {
    /// Layers above `len` nodes
    pub struct Layers("merkle/tree.wgsl", workgroup = 256) {
        buffers { write nodes: Digest, write root: Digest, constant round_constants: F as RoundConstants }
        params { start, len, levels }
    }
}

kernel! {
    /// Layers above `len` nodes, up to one node a workgroup, for devices with subgroups of 16 lanes or more
    pub struct LayersByLanes("merkle/tree_lanes.wgsl", workgroup = 256) {
        buffers { write nodes: Digest as u32, write root: Digest as u32, read round_constants: F as vec4<u32> }
        params { start, len, levels }
    }
}

/// What one dispatch does above a layer.
struct Climb {
    /// By [`LayersByLanes`], else by [`Layers`].
    by_lanes: bool,
    /// Nodes that a workgroup takes.
    nodes: usize,
    levels: usize,
}

impl Climb {
    /// A layer of at most 2^13 nodes does not fill a GPU with a node a thread, so that several layers share a dispatch. With 16 lanes a node,
    /// 2^14 nodes are small: 2^8 workgroups of 2^6 nodes, two for each multiprocessor of an H200.
    fn above(gpu: &Gpu, len: usize) -> Self {
        let has_lanes = gpu.capabilities().flags().contains("SUBGROUP16");
        let max_levels = len.ilog2() as usize;
        match has_lanes {
            true if len <= 1 << 14 => {
                let levels = max_levels.min(6);
                Self { by_lanes: true, nodes: 1 << levels, levels }
            }
            false if len <= 1 << 13 => Self { by_lanes: false, nodes: 512, levels: max_levels.min(9) },
            _ => Self { by_lanes: false, nodes: 512, levels: 1 },
        }
    }
}

/// A Merkle tree whose leaves bundle `rows_per_query` rows each: leaf i the rows i + t * stride, t < rows_per_query.
#[derive(Clone)]
pub struct MerkleTree {
    /// Layers from the leaves to the root, one behind the other.
    nodes: DeviceBuffer<Digest>,
    root: DeviceBuffer<Digest>,
    log_leaves: usize,
    rows_per_query: usize,
}

impl MerkleTree {
    /// Hashes the rows of one column of extension elements into a tree (upstream's `MerkleTree::new` of width 1).
    ///
    /// # Errors
    ///
    /// As [`MerkleTree::from_rows`].
    pub fn from_ext(rec: &mut Recorder, codeword: &DeviceBuffer<EF>, rows_per_query: usize) -> Result<Self> {
        let words = codeword.cast();
        let mut sponges = RowSponges::new(rec.gpu(), codeword.len(), 4, 4)?;
        sponges.absorb(rec, Panel::coordinates(&words))?;
        Self::from_rows(rec, sponges.finish(), rows_per_query)
    }

    /// The tree over row digests.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when `rows_per_query` is no power of two or exceeds the rows; as [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn from_rows(rec: &mut Recorder, rows: RowDigests, rows_per_query: usize) -> Result<Self> {
        let height = rows.piece_rows * rows.pieces.len();
        if !rows_per_query.is_power_of_two() || rows_per_query > height {
            let message =
                format!("{rows_per_query} rows a query of {height} (must be a power of two, not above the rows)");
            return Err(Error::InvalidInput(message));
        }
        let leaves = height / rows_per_query;
        let nodes = rec.gpu().alloc(2 * leaves, "Merkle tree")?;
        let root = rec.gpu().alloc(1, "Merkle root")?;
        let tree = Self { nodes, root, log_leaves: leaves.ilog2() as usize, rows_per_query };
        tree.bundle(rec, rows)?;
        tree.layers(rec)?;
        Ok(tree)
    }

    /// Takes over a tree that the host made, given by its layers from the leaves to the root.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when the layers do not halve down to one root; as [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn upload(gpu: &Gpu, layers: &[Vec<Digest>], rows_per_query: usize) -> Result<Self> {
        let leaves = layers.first().map_or(0, Vec::len);
        let halves = layers.windows(2).all(|pair| pair[1].len() * 2 == pair[0].len());
        let root = match layers.last() {
            Some(root) if root.len() == 1 && halves && rows_per_query.is_power_of_two() => root,
            _ => return Err(Error::InvalidInput("the layers of a Merkle tree must halve down to its root".into())),
        };
        let mut nodes = layers.concat();
        nodes.resize(2 * leaves, Digest::default());
        Ok(Self {
            nodes: gpu.upload(&nodes, "Merkle tree")?,
            root: gpu.upload(root, "Merkle root")?,
            log_leaves: leaves.ilog2() as usize,
            rows_per_query,
        })
    }

    /// The root, one digest.
    pub fn root(&self) -> &DeviceBuffer<Digest> {
        &self.root
    }

    /// All nodes, from the leaves to the root.
    pub fn nodes(&self) -> &DeviceBuffer<Digest> {
        &self.nodes
    }

    /// log2 of the leaves: the bits of a query and the length of a path.
    pub fn depth(&self) -> usize {
        self.log_leaves
    }

    /// Leaves, which is also the distance of the rows of a leaf (upstream's `query_stride`).
    pub fn query_stride(&self) -> usize {
        1 << self.log_leaves
    }

    /// Rows that a leaf bundles.
    pub fn rows_per_query(&self) -> usize {
        self.rows_per_query
    }

    /// Compresses rows `stride` apart, layer by layer, into the leaves. Of these layers only the current one is kept.
    fn bundle(&self, rec: &mut Recorder, mut rows: RowDigests) -> Result<()> {
        let stride = self.query_stride();
        if self.rows_per_query == 1 {
            for (index, piece) in rows.pieces.iter().enumerate() {
                rec.copy((piece, 0), (&self.nodes, index * rows.piece_rows), rows.piece_rows);
            }
        }
        let mut len = stride * self.rows_per_query;
        while len > stride {
            len /= 2;
            let to = if len == stride {
                RowDigests { pieces: vec![self.nodes.clone()], piece_rows: len }
            } else {
                let piece_rows = rows.piece_rows.min(len);
                let alloc = |_| rec.gpu().alloc(piece_rows, "row digests");
                RowDigests { pieces: (0..len / piece_rows).map(alloc).collect::<Result<_>>()?, piece_rows }
            };
            bundle_layer(rec, &rows, &to, len, stride)?;
            rows = to;
        }
        Ok(())
    }

    fn layers(&self, rec: &mut Recorder) -> Result<()> {
        let (nodes, root, round_constants) = (&self.nodes, &self.root, &round_constants(rec.gpu())?);
        let (mut first, mut count) = (0, self.query_stride());
        if count == 1 {
            rec.copy((nodes, 0), (root, 0), 1);
        }
        while count > 1 {
            let climb = Climb::above(rec.gpu(), count);
            let [start, len, levels] = [first, count, climb.levels].map(|n| n as u32);
            let grid = Grid::workgroups(count.div_ceil(climb.nodes));
            if climb.by_lanes {
                rec.dispatch(&LayersByLanes { nodes, root, round_constants, start, len, levels }, grid);
            } else {
                rec.dispatch(&Layers { nodes, root, round_constants, start, len, levels }, grid);
            }
            for _ in 0..climb.levels {
                first += count;
                count /= 2;
            }
        }
        Ok(())
    }
}

/// One layer of `len` results, cut so that each dispatch stays within one piece of either side.
fn bundle_layer(rec: &mut Recorder, from: &RowDigests, to: &RowDigests, len: usize, stride: usize) -> Result<()> {
    let constants = round_constants(rec.gpu())?;
    // results whose left rows are in one piece: whole blocks, or a part of one
    let whole_blocks = stride < from.piece_rows;
    let step = if whole_blocks { from.piece_rows / 2 } else { from.piece_rows };
    let step = step.min(to.piece_rows).min(len);
    for first in (0..len).step_by(step) {
        let left = first / stride * 2 * stride + first % stride;
        let right = left + stride;
        let kernel = Bundle {
            left: &from.pieces[left / from.piece_rows],
            right: &from.pieces[right / from.piece_rows],
            dst: &to.pieces[first / to.piece_rows],
            round_constants: &constants,
            len: step as u32,
            log_stride: if step > stride { stride.ilog2() } else { step.ilog2() },
            left_start: (left % from.piece_rows) as u32,
            right_start: (right % from.piece_rows) as u32,
            dst_start: (first % to.piece_rows) as u32,
        };
        rec.dispatch(&kernel, Grid::threads(step));
    }
    Ok(())
}
