//! What the examples and the program `openvm-wgpu` share: proofs and comparisons, workloads, progress and span times, records.
//!
//! Benches and tests include single files of it by path.

pub mod compare;
pub mod gpus;
pub mod proofs;
pub mod record;
pub mod runner;
pub mod spans;
pub mod workloads;
