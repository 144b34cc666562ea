//! The stacked polynomial commitment: columns stacked to one height, Reed-Solomon encoded, and hashed row by row.
//!
//! Part 1, the protocol (upstream `prover/stacked_pcs.rs`). The columns of all traces, by descending height, are laid one behind the
//! other into a *stacked matrix* of height 2^(l_skip + n_stack). Each of its columns is a vector of evaluations on `D x {0,1}^n`; the
//! univariate polynomial that stands for it is evaluated on the 2^log_blowup times larger subgroup. The rows of this *codeword matrix*
//! are hashed; leaf `i` of the Merkle tree bundles the 2^k_whir rows `i + t * stride`, which WHIR opens together.
//!
//! Part 2, this implementation. Neither matrix exists as a whole: a [`StackedMatrix`] refers to the traces, and the commitment streams
//! *panels* of columns through gather, encode and absorb. Between panels only the sponges' capacities live, eight words a row.

mod commit;
mod encode;
mod host;
mod stacked;

pub use commit::{commit, commit_stacked, kept_bytes, panel_bytes, peak_bytes, CommitParams, PcsData};
pub use stacked::{checked_log_height, Piece, StackedMatrix};
