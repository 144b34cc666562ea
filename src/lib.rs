//! A prover backend for OpenVM's SWIRL proof system on any GPU that wgpu reaches.

pub mod constraints;
pub mod error;
pub mod gpu;
pub mod kernels;
pub mod stages;

pub use error::{Error, Result};
