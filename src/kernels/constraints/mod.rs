//! Constraint programs on the device (`wgsl/constraints/*`): the interpreter, generated kernels, and which of them runs.
//!
//! A [`DeviceProgram`] is a program of [`crate::constraints`] placed on a tile layout. Each of its chunks is run by the
//! interpreter, which is there at once, or by a kernel generated from it; both write the same values, so that chunks may
//! change over while a proof runs. [`EvaluatorPolicy`] says which. An [`AirEvaluator`] holds all programs of an AIR.

mod air;
mod emit;
mod generated;
mod program;
mod reduce;
mod sums;
#[cfg(test)]
mod tests;

pub use air::AirEvaluator;
pub use emit::EmitEvaluation;
pub use program::{DeviceProgram, EvaluatorPolicy, RowKind};
pub use reduce::{fill_logup_weights, LogupWeightsFill};
pub use sums::{tile_stride, SumEvaluation};
