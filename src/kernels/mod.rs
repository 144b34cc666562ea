//! One typed launcher per kernel; mirrors `wgsl/` file for file.

#[cfg(test)]
mod field;
pub mod poseidon2;
