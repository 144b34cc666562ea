//! Runs the Metal text of WGSL compute kernels on the CPU, and checks them for races and stray accesses.
//!
//! Three layers: `emit` (naga to Metal Shading Language, as wgpu's Metal backend asks for it), `execute` (the text compiled as C++ and
//! run by fibers) and `check` (shadow memory).

mod buffer;
mod error;
mod finding;
mod price;
mod program;

pub use buffer::Buffer;
pub use error::Error;
pub use finding::{Finding, FindingKind};
pub use program::{Kernel, Mode, Options, Order, Program};
