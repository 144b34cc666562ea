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
    struct OpenRows("merkle/open_rows.wgsl", workgroup = 64) {
        buffers { read panel: F, read tape: F, write opened: F }
        params { queries, first_word, bits, rows_per_query, columns, column_stride, row_stride, first_column, width }
    }
}

impl MerkleTree {
    /// Writes the columns of a panel into the opened rows `[query][t][column]` of `width` columns, from `first_column` on.
    pub fn open_rows(
        &self,
        rec: &mut Recorder,
        queries: &Observed<F>,
        panel: Panel<'_>,
        (opened, first_column, width): (&DeviceBuffer<F>, usize, usize),
    ) {
        let rows = queries.len() * self.rows_per_query();
        assert!(first_column + panel.columns <= width && rows * width <= opened.len(), "opened rows");
        let kernel = OpenRows {
            panel: panel.words,
            tape: queries.tape(),
            opened,
            queries: queries.len() as u32,
            first_word: queries.word(),
            bits: self.depth() as u32,
            rows_per_query: self.rows_per_query() as u32,
            columns: panel.columns as u32,
            column_stride: panel.column_stride as u32,
            row_stride: panel.row_stride as u32,
            first_column: first_column as u32,
            width: width as u32,
        };
        rec.dispatch(&kernel, Grid::threads(rows * panel.columns));
    }

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
        self.open_rows(rec, queries, Panel::coordinates(&codeword.cast()), (&opened.cast(), 0, 4));
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
