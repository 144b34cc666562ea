//! One typed launcher per kernel; mirrors `wgsl/` file for file.

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
pub(crate) mod stacked_reduction;
pub mod sum_rows;
pub mod transcript;
pub mod whir;
