//! One typed launcher per kernel; mirrors `wgsl/` file for file.

#[cfg(test)]
mod field;
pub mod merkle;
pub mod ntt;
pub(crate) mod openings;
pub mod poseidon2;
pub mod stack;
pub mod transcript;
