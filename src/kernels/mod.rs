//! One typed launcher per kernel; mirrors `wgsl/` file for file.

pub mod constraints;
#[cfg(test)]
mod field;
pub mod poseidon2;
