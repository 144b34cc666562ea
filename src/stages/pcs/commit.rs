//! Committing: encode, hash, and what opening needs afterwards.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};
use tracing::info_span;

use super::{
    encode::{codeword_panel, PanelEncoder},
    stacked::{panel_width, PACKED_CELLS},
    StackedMatrix,
};
use crate::{
    error::{Error, Result},
    gpu::{size_class, DeviceBuffer, DeviceMatrix, Gpu, Recorder},
    kernels::{
        merkle::{MerkleTree, OpenRows, RowSponges},
        ntt::MAX_LOG_SIZE,
        poseidon2::RATE,
        transcript::Observed,
    },
    stages::ProofShape,
};

/// Permutations recorded before they are submitted: about a quarter of a second on an eight-core M1, so that a display stays alive.
const PERMUTATIONS_PER_SUBMIT: usize = 1 << 24;

/// Codewords that may be made ahead even if the openings need more memory than the proof had in use before.
const AHEAD_BYTES: u64 = 512 << 20;

/// Bytes that stay of a proof's commitments until its openings, at most: packed traces, trees, and codewords if they are kept.
pub fn kept_bytes(params: &SystemParams, shape: &ProofShape, cache_rs_code_matrix: bool) -> u64 {
    let (rs_height, width) = stacked_size(params, shape);
    let packed = 4 * shape.cells().min(PACKED_CELLS as u64);
    packed + ((64 * rs_height) >> params.k_whir()) + 4 * rs_height * width * u64::from(cache_rs_code_matrix)
}

/// Bytes that committing holds at most, beside what stays: panels, and for each row of the codewords a sponge and what bundles rows into
/// leaves.
pub fn peak_bytes(gpu: &Gpu, params: &SystemParams, shape: &ProofShape) -> u64 {
    64 * stacked_size(params, shape).0 + panel_bytes(gpu, params, shape)
}

/// Bytes of the two panels that an encoding takes in turn, at most.
pub fn panel_bytes(gpu: &Gpu, params: &SystemParams, shape: &ProofShape) -> u64 {
    let (rs_height, width) = stacked_size(params, shape);
    2 * 4 * rs_height * width.min(panel_width(gpu, rs_height as usize) as u64)
}

/// Rows of the codewords, and stacked columns of all commitments.
fn stacked_size(params: &SystemParams, shape: &ProofShape) -> (u64, u64) {
    let height = 1 << params.log_stacked_height();
    (height << params.log_blowup, shape.cells().div_ceil(height).max(1))
}

/// The parameters of a commitment.
#[derive(Clone, Copy, Debug)]
pub struct CommitParams {
    /// log2 of the chunks on which columns are univariate.
    pub l_skip: usize,
    /// log2 of the stacked height over 2^l_skip.
    pub n_stack: usize,
    /// -log2 of the code's rate.
    pub log_blowup: usize,
    /// log2 of the rows that a leaf bundles.
    pub k_whir: usize,
    /// Keep the codewords on the device instead of making them again for the openings: 2^log_blowup times the traces' memory.
    pub cache_rs_code_matrix: bool,
}

impl From<&SystemParams> for CommitParams {
    fn from(params: &SystemParams) -> Self {
        Self {
            l_skip: params.l_skip,
            n_stack: params.n_stack,
            log_blowup: params.log_blowup,
            k_whir: params.k_whir(),
            cache_rs_code_matrix: false,
        }
    }
}

/// What the prover keeps of a commitment.
#[derive(Clone)]
pub struct PcsData {
    /// The committed columns.
    pub stacked: StackedMatrix,
    /// The tree over the rows of their codewords.
    pub tree: MerkleTree,
    /// -log2 of the code's rate.
    pub log_blowup: usize,
    pub(super) root: Digest,
    pub(super) codewords: KeptCodewords,
    /// Whether the codewords stay for later openings.
    pub(super) keeps_codewords: bool,
}

/// Codewords in memory: the first panels, as far as they were kept or made ahead.
#[derive(Clone, Default)]
pub(super) struct KeptCodewords(Arc<Mutex<Vec<CodewordPanel>>>);

impl KeptCodewords {
    fn new(panels: Vec<CodewordPanel>) -> Self {
        Self(Arc::new(Mutex::new(panels)))
    }

    fn panels(&self) -> MutexGuard<'_, Vec<CodewordPanel>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Clone)]
pub(super) struct CodewordPanel {
    columns: Range<usize>,
    words: DeviceBuffer<F>,
}

/// Stacks and commits traces, tallest first: upstream's `stacked_commit`. Waits for the root.
///
/// # Errors
///
/// As [`StackedMatrix::new`] and [`commit_stacked`].
pub fn commit(gpu: &Gpu, params: impl Into<CommitParams>, traces: &[&DeviceMatrix<F>]) -> Result<(Digest, PcsData)> {
    let _span = info_span!("stacked_commit").entered();
    let params = params.into();
    commit_stacked(gpu, &params, StackedMatrix::new(params.l_skip, params.n_stack, traces)?)
}

/// Commits a stacked matrix. The root is a function of its cells, `log_blowup` and `k_whir`.
///
/// # Errors
///
/// [`Error::Unsupported`] for codewords longer than 2^27 and l_skip above 9, [`Error::InvalidInput`] when a leaf would bundle more rows
/// than there are, [`Error::OutOfBudget`] and the like, and what the device reports.
pub fn commit_stacked(gpu: &Gpu, params: &CommitParams, mut stacked: StackedMatrix) -> Result<(Digest, PcsData)> {
    let log_rs_height = stacked.height().ilog2() as usize + params.log_blowup;
    if log_rs_height > MAX_LOG_SIZE {
        let message = format!("codewords of length 2^{log_rs_height}; the field has 2^{MAX_LOG_SIZE}");
        return Err(Error::Unsupported(message));
    }
    let mut rec = gpu.recorder("stacked_commit");
    stacked.pack(&mut rec)?;
    let (sponges, codewords) = info_span!("rs_code_matrix").in_scope(|| hash_rows(&mut rec, params, &stacked))?;
    // the panels' memory goes back before the tree takes its own
    rec.submit()?;
    let _span = info_span!("merkle_tree").entered();
    let tree = MerkleTree::from_rows(&mut rec, sponges.finish(), 1 << params.k_whir)?;
    let root = rec.download(tree.root());
    let root = rec.wait()?.take(root)?[0];
    let codewords = KeptCodewords::new(codewords);
    let keeps_codewords = params.cache_rs_code_matrix;
    Ok((root, PcsData { stacked, tree, log_blowup: params.log_blowup, root, codewords, keeps_codewords }))
}

/// Encodes the columns panel by panel and lets the row sponges absorb each panel, before the next one takes its memory.
fn hash_rows(
    rec: &mut Recorder,
    params: &CommitParams,
    stacked: &StackedMatrix,
) -> Result<(RowSponges, Vec<CodewordPanel>)> {
    let rs_height = stacked.height() << params.log_blowup;
    let encoder = PanelEncoder::new(rec.gpu(), stacked, params.log_blowup);
    let mut sponges = RowSponges::new(rec.gpu(), rs_height, stacked.width(), encoder.panel_width())?;
    let mut codewords = vec![];
    let mut permutations = 0;
    for columns in encoder.panels(0) {
        let words = if params.cache_rs_code_matrix {
            encoder.encode_kept(rec, columns.clone())?
        } else {
            encoder.encode(rec, columns.clone())?
        };
        sponges.absorb(rec, codeword_panel(&words, columns.len(), rs_height))?;
        permutations += columns.len().div_ceil(RATE) * rs_height;
        if permutations >= PERMUTATIONS_PER_SUBMIT {
            rec.submit()?;
            permutations = 0;
        }
        if params.cache_rs_code_matrix {
            codewords.push(CodewordPanel { columns, words });
        }
    }
    Ok((sponges, codewords))
}

impl PcsData {
    /// The commitment.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Device memory that lives as long as this, without the traces, bytes.
    pub fn bytes(&self) -> u64 {
        self.tree.nodes().bytes() + self.codewords.panels().iter().map(|panel| panel.words.bytes()).sum::<u64>()
    }

    /// Starts to make the codewords that [`PcsData::open_rows`] will need, as many as fit into memory that was in use before, next to the
    /// `until_opened` bytes that the proof takes until then: for a time when the device would have nothing to do.
    ///
    /// # Errors
    ///
    /// What the device reports. Too little memory is none: the openings make the rest.
    pub fn encode_ahead(&self, gpu: &Gpu, until_opened: u64) -> Result<()> {
        let mut panels = self.codewords.panels();
        if !panels.is_empty() {
            return Ok(());
        }
        let idle = gpu.idle_bytes();
        let room = idle.saturating_sub(until_opened).max(idle.min(AHEAD_BYTES));
        let mut rec = gpu.recorder("codewords ahead");
        match self.make_panels(&mut rec, room, &mut panels) {
            // another proof took the memory
            Err(Error::OutOfBudget { .. } | Error::OutOfMemory { .. }) => rec.submit(),
            made => made,
        }
    }

    /// The first panels, as many as fit into `bytes` with the memory for making them.
    fn make_panels(&self, rec: &mut Recorder, bytes: u64, panels: &mut Vec<CodewordPanel>) -> Result<()> {
        // small panels, to fill what there is
        let panel_width = RATE.min(panel_width(rec.gpu(), self.stacked.height() << self.log_blowup));
        let encoder = PanelEncoder::with_panels(panel_width, &self.stacked, self.log_blowup);
        let fit = (bytes / size_class(encoder.panel_bytes())).saturating_sub(1);
        for columns in encoder.panels(0).take(fit as usize) {
            let words = encoder.encode_kept(rec, columns.clone())?;
            panels.push(CodewordPanel { columns, words });
            rec.submit()?;
        }
        Ok(())
    }

    /// The rows of the codeword matrix that queries open: `[query][t][column]`, the rows index + t * stride for t < 2^k_whir
    /// (upstream's `get_opened_rows`). Query indices are the low `tree.depth()` bits of the words that `queries` names.
    ///
    /// Encodes the columns whose codewords are not in memory again, panel by panel, and submits `rec` panel by panel then.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn open_rows(&self, rec: &mut Recorder, queries: &Observed<F>) -> Result<DeviceBuffer<F>> {
        let rows = queries.len() * self.tree.rows_per_query();
        let opened = rec.gpu().alloc(rows * self.stacked.width(), "opened rows")?;
        let open = |rec: &mut Recorder, words: &DeviceBuffer<F>, columns: Range<usize>| {
            let panel = codeword_panel(words, columns.len(), self.stacked.height() << self.log_blowup);
            let (tree, opened, first_column, width) = (&self.tree, &opened, columns.start, self.stacked.width());
            OpenRows { tree, queries, panel, opened, first_column, width }.record(rec);
        };
        let mut kept = self.codewords.panels();
        for panel in kept.iter() {
            open(rec, &panel.words, panel.columns.clone());
        }
        let done = kept.last().map_or(0, |panel| panel.columns.end);
        if !self.keeps_codewords {
            kept.clear();
        }
        let encoder = PanelEncoder::new(rec.gpu(), &self.stacked, self.log_blowup);
        for columns in encoder.panels(done) {
            let words = encoder.encode(rec, columns.clone())?;
            open(rec, &words, columns);
            // the next commitment's panels, and what follows in the proof, take the same memory
            rec.submit()?;
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests;
