//! Runs the Metal text of WGSL compute kernels on the CPU, and checks them for races and stray accesses.
//!
//! Three layers: [`emit`] (naga to Metal Shading Language, as wgpu's Metal backend asks for it), `execute` (the text compiled as C++,
//! its threads run as fibers) and `check` (what is remembered of memory, and what is wrong with an access to it). Beside `check`, `price`
//! counts what a kernel would cost an Apple GPU.

mod buffer;
mod check;
pub mod emit;
mod error;
mod execute;
mod price;
mod program;

pub use buffer::Buffer;
pub use check::{Finding, FindingKind};
pub use error::Error;
pub use price::{Lines, Price, Work, LINE};
pub use program::{Kernel, Mode, Options, Order, Program};
