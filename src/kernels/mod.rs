//! One typed launcher per kernel; mirrors `wgsl/` file for file.

pub mod constraints;
#[cfg(test)]
mod field;
pub mod gkr;
pub(crate) mod openings;
pub mod poseidon2;
pub mod rap;
pub mod stack;
pub(crate) mod stacked_reduction;
pub mod transcript;
