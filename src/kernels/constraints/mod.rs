//! Constraint programs on the device (`wgsl/constraints/*`): the interpreter, generated kernels, and which of them runs.
//!
//! A [`DeviceProgram`] is a program of [`crate::constraints`] placed on a tile layout. It is run by the interpreter, which is there at
//! once, or by kernels generated from it, from when all of them are compiled; both lead to the same sums, so that a program may change
//! over between two evaluations. [`EvaluatorPolicy`] says which. An [`AirEvaluator`] holds all programs of an AIR.

mod air;
mod emit;
mod generated;
mod list;
mod list_emit;
#[cfg(test)]
mod list_tests;
mod listed;
#[cfg(test)]
mod oracle;
mod program;
mod reduce;
mod sums;
#[cfg(test)]
mod tests;

pub use air::AirEvaluator;
pub use emit::EmitEvaluation;
pub use list::{can_list, DeviceLists, Job, ListTables, WorkList, WorkLists};
pub use list_emit::{EmitJob, EmitList, EmitTables};
pub use listed::{Form, ListedAir, ListedProgram, ProgramTable};
pub use program::{DeviceProgram, EvaluatorPolicy, ProgramForms, RowKind};
pub use reduce::{fill_logup_weights, LogupWeightsFill};
pub use sums::{tile_stride, SumEvaluation};
