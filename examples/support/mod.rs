//! What the examples share: workloads, progress and span times, records.
//!
//! Benches and tests include single files of it by path.

pub mod record;
pub mod runner;
pub mod spans;
pub mod workloads;
