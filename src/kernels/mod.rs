//! One typed launcher per kernel; folders mirror those of `wgsl/`, and a launcher names its WGSL file.

pub mod constraints;
pub mod eq;
#[cfg(test)]
mod field;
pub mod gkr;
pub mod merkle;
pub mod ntt;
pub(crate) mod openings;
pub mod poseidon2;
pub mod powers;
pub mod rap;
pub mod stacked_reduction;
pub mod sum_rows;
pub mod transcript;
pub mod transpose;
pub mod whir;

/// Largest univariate skip: a workgroup holds the 2^l_skip values of a chunk, of base or extension elements, in its memory. Kernels that
/// rely on it assert it next to the size of their memory; upstream's parameters stay below.
pub const MAX_L_SKIP: usize = 9;
