//! One typed launcher per kernel; mirrors `wgsl/` file for file.

pub mod constraints;
pub mod eq;
#[cfg(test)]
mod field;
pub mod merkle;
pub mod ntt;
pub(crate) mod openings;
pub mod poseidon2;
pub mod powers;
pub mod stack;
pub mod sum_rows;
pub mod transcript;
pub mod whir;
