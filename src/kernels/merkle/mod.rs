//! Merkle trees over the rows of matrices that come in panels (`wgsl/merkle/*`).

mod open;
mod sponge;
mod tree;

pub use open::OpenRows;
pub use sponge::{RowDigests, RowSponges};
pub use tree::{Layers, LayersByLanes, MerkleTree};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::gpu::DeviceBuffer;

/// Columns of a matrix as they lie in a buffer: the word of (row, column) at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// The words.
    pub words: &'a DeviceBuffer<F>,
    /// Number of columns.
    pub columns: usize,
    /// Distance of consecutive columns, words.
    pub column_stride: usize,
    /// Distance of consecutive rows, words.
    pub row_stride: usize,
}

impl<'a> Panel<'a> {
    /// Base-field columns of `height` rows, one behind the other.
    pub fn columns(words: &'a DeviceBuffer<F>, columns: usize, height: usize) -> Self {
        assert!(columns * height <= words.len(), "panel of {columns} columns and {height} rows");
        Self { words, columns, column_stride: height, row_stride: 1 }
    }

    /// One column of extension elements, as four columns of coordinates side by side.
    pub fn coordinates(words: &'a DeviceBuffer<F>) -> Self {
        Self { words, columns: 4, column_stride: 1, row_stride: 4 }
    }
}

#[cfg(test)]
pub(crate) mod tests;
