//! What queries open (`wgsl/merkle/open_{paths,rows}.wgsl`). An index is the low bits of a sampled word.

use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};

use super::{MerkleTree, Panel};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::Observed,
};

kernel! {
    /// path[query][layer] = sibling of the query's node
    struct OpenPaths("merkle/open_paths.wgsl", workgroup = 64) {
        buffers { read nodes: Digest, read tape: F, write path: Digest }
        params { queries, first_word, bits }
    }
}

kernel! {
    /// opened[query][t][column] = row leaf + t stride of a panel
    struct OpenRowsKernel("merkle/open_rows.wgsl", workgroup = 64) {
        buffers { read panel: F, read tape: F, write opened: F }
        params { queries, first_word, bits, rows_per_query, columns, column_stride, row_stride, first_column, width }
    }
}

/// The columns of a panel of the rows that queries open, to `opened`, `[query][t][column]` of `width` columns, from `first_column` on.
pub struct OpenRows<'a> {
    pub tree: &'a MerkleTree,
    pub queries: &'a Observed<F>,
    pub panel: Panel<'a>,
    pub opened: &'a DeviceBuffer<F>,
    pub first_column: usize,
    pub width: usize,
}

impl OpenRows<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { tree, queries, panel, opened, first_column, width } = *self;
        let rows = queries.len() * tree.rows_per_query();
        assert!(first_column + panel.columns <= width && rows * width <= opened.len(), "opened rows");
        let kernel = OpenRowsKernel {
            panel: panel.words,
            tape: queries.tape(),
            opened,
            queries: queries.len() as u32,
            first_word: queries.word(),
            bits: tree.depth() as u32,
            rows_per_query: tree.rows_per_query() as u32,
            columns: panel.columns as u32,
            column_stride: panel.column_stride as u32,
            row_stride: panel.row_stride as u32,
            first_column: first_column as u32,
            width: width as u32,
        };
        rec.dispatch(&kernel, Grid::threads(rows * panel.columns));
    }
}

impl MerkleTree {
    /// The rows that queries open of one column of extension elements: `[query][t]`, `rows_per_query` each.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn open_ext_rows(
        &self,
        rec: &mut Recorder,
        codeword: &DeviceBuffer<EF>,
        queries: &Observed<F>,
    ) -> Result<DeviceBuffer<EF>> {
        let opened = rec.gpu().alloc::<EF>(queries.len() * self.rows_per_query(), "opened values")?;
        let (words, panel) = (opened.cast(), codeword.cast());
        let panel = Panel::coordinates(&panel);
        OpenRows { tree: self, queries, panel, opened: &words, first_column: 0, width: 4 }.record(rec);
        Ok(opened)
    }

    /// The siblings of each query's nodes from its leaf up: `[query][layer]`, [`MerkleTree::depth`] layers.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub fn open_paths(&self, rec: &mut Recorder, queries: &Observed<F>) -> Result<DeviceBuffer<Digest>> {
        let path = rec.gpu().alloc(queries.len() * self.depth(), "Merkle paths")?;
        let kernel = OpenPaths {
            nodes: self.nodes(),
            tape: queries.tape(),
            path: &path,
            queries: queries.len() as u32,
            first_word: queries.word(),
            bits: self.depth() as u32,
        };
        rec.dispatch(&kernel, Grid::threads(2 * path.len()));
        Ok(path)
    }
}
