//! The protocol, one module per stage. Stages read like the paper; they know kernels by name and never see the GPU's API.

pub mod gkr;
pub mod openings;
pub mod pcs;
pub mod rap;
mod shape;
pub mod stacked_reduction;
pub mod transcript;
pub mod whir;

pub use shape::ProofShape;
