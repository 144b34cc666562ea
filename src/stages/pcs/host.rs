//! Commitments that the host made: preprocessed traces in the proving key, cached mains.

use openvm_stark_backend::prover::stacked_pcs::StackedPcsData;
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};

use super::{commit::KeptCodewords, PcsData, StackedMatrix};
use crate::{
    error::{Error, Result},
    gpu::{DeviceMatrix, Gpu},
    kernels::merkle::MerkleTree,
};

impl PcsData {
    /// Takes over the host's commitment to one trace, which is on the device already: its digests travel, its codewords are made again
    /// when they are opened.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] for data that is no commitment to such a trace; as [`Gpu::alloc`].
    pub fn from_trace(gpu: &Gpu, data: &StackedPcsData<F, Digest>, trace: &DeviceMatrix<F>) -> Result<Self> {
        let (l_skip, height) = (data.layout.l_skip(), data.layout.height());
        let n_stack = (height.ilog2() as usize).saturating_sub(l_skip);
        Self::from_host(gpu, data, StackedMatrix::new(l_skip, n_stack, &[trace])?)
    }

    /// Takes over the host's commitment with its stacked matrix.
    ///
    /// # Errors
    ///
    /// As [`PcsData::from_trace`].
    pub fn from_stacked(gpu: &Gpu, data: &StackedPcsData<F, Digest>, matrix: DeviceMatrix<F>) -> Result<Self> {
        Self::from_host(gpu, data, StackedMatrix::from_stacked(data.layout.clone(), matrix)?)
    }

    fn from_host(gpu: &Gpu, data: &StackedPcsData<F, Digest>, stacked: StackedMatrix) -> Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| Error::InvalidInput(format!("committed data: {error}"));
        let root = data.tree.root().map_err(|error| invalid(&error))?;
        let tree = MerkleTree::upload(gpu, data.tree.digest_layers(), data.tree.rows_per_query())?;
        let rs_height = tree.query_stride() * tree.rows_per_query();
        if rs_height < stacked.height() {
            return Err(invalid(&format!("a tree over {rs_height} rows, the stacked matrix has {}", stacked.height())));
        }
        let log_blowup = (rs_height / stacked.height()).ilog2() as usize;
        Ok(Self { stacked, tree, log_blowup, root, codewords: KeptCodewords::default(), keeps_codewords: false })
    }
}
