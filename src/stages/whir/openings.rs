//! What the queries of a WHIR round open, gathered on the device.

use openvm_stark_backend::proof::WhirProof;
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, EF, F};

use super::{Oracle, SC};
use crate::{
    error::Result,
    gpu::{Completed, Recorder, Ticket},
    stages::{pcs::PcsData, transcript::Observed},
};

/// Downloads of opened rows and Merkle paths.
pub(super) enum Openings {
    /// Of the committed matrices, in the first round.
    Initial(Vec<InitialOpening>),
    /// Of the codeword that the round before committed to.
    Later { queries: usize, values: Ticket<EF>, paths: Ticket<Digest> },
}

/// Openings of one committed matrix.
pub(super) struct InitialOpening {
    queries: usize,
    rows_per_query: usize,
    /// `[query][row][column]`
    rows: Ticket<F>,
    /// `[query][layer]`
    paths: Ticket<Digest>,
}

impl Openings {
    /// Rows of all committed matrices.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(super) fn initial(rec: &mut Recorder, commits: &[&PcsData], queries: &Observed<F>) -> Result<Self> {
        let open = |commit: &&PcsData| {
            let rows = commit.open_rows(rec, queries)?;
            let paths = commit.tree.open_paths(rec, queries)?;
            Ok(InitialOpening {
                queries: queries.len(),
                rows_per_query: commit.tree.rows_per_query(),
                rows: rec.download(&rows),
                paths: rec.download(&paths),
            })
        };
        Ok(Self::Initial(commits.iter().map(open).collect::<Result<_>>()?))
    }

    /// Rows of a codeword of extension elements.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(super) fn later(rec: &mut Recorder, oracle: &Oracle, queries: &Observed<F>) -> Result<Self> {
        let values = oracle.tree.open_ext_rows(rec, &oracle.codeword, queries)?;
        let paths = oracle.tree.open_paths(rec, queries)?;
        Ok(Self::Later { queries: queries.len(), values: rec.download(&values), paths: rec.download(&paths) })
    }

    /// Takes the values into their places in the proof.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub(super) fn write(self, done: &Completed, proof: &mut WhirProof<SC>) -> Result<()> {
        match self {
            Self::Initial(commits) => {
                for opening in commits {
                    let rows = split(done.take(opening.rows)?, opening.queries);
                    let rows = rows.into_iter().map(|leaf| split(leaf, opening.rows_per_query)).collect();
                    proof.initial_round_opened_rows.push(rows);
                    proof.initial_round_merkle_proofs.push(split(done.take(opening.paths)?, opening.queries));
                }
            }
            Self::Later { queries, values, paths } => {
                proof.codeword_opened_values.push(split(done.take(values)?, queries));
                proof.codeword_merkle_proofs.push(split(done.take(paths)?, queries));
            }
        }
        Ok(())
    }
}

/// `values` in `parts` equal parts.
fn split<T: Clone>(values: Vec<T>, parts: usize) -> Vec<Vec<T>> {
    let len = values.len() / parts.max(1);
    (0..parts).map(|i| values[i * len..(i + 1) * len].to_vec()).collect()
}
