//! The protocol, one module per stage. Stages read like the paper; they know kernels by name and never see the GPU's API.

pub mod pcs;
pub mod gkr;
pub mod stacked_reduction;
pub mod rap;
pub mod transcript;
pub mod whir;
