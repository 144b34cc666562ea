//! A prover backend for OpenVM's SWIRL proof system on any GPU that wgpu reaches.

pub mod error;
pub mod gpu;
pub mod kernels;

pub use error::{Error, Result};
