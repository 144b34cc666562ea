//! The GPU runtime: the only place that names wgpu.
//!
//! A [`Gpu`] is an open device with its memory pool and pipelines. Work is recorded kernel by kernel with a [`Recorder`] and
//! submitted in one go; kernels are declared by `kernel!` next to their WGSL file.

mod adapter;
mod admission;
mod background;
mod buffer;
mod device;
mod driver;
mod element;
mod environment;
mod executor;
mod faults;
#[doc(hidden)]
pub mod faulty;
mod host_memory;
mod keep_warm;
mod kernel;
mod ledger;
mod linker;
#[doc(hidden)]
pub mod machine;
mod matrix;
mod memory;
mod noop;
mod on_machine;
mod on_wgpu;
mod open;
mod pipeline;
mod pool;
mod process;
mod profile;
mod recorder;
pub mod required;
#[doc(hidden)]
pub mod testing;
mod times;
mod warm;

pub use adapter::{adapters, AdapterReport, AdapterSummary, GpuOptions};
pub use admission::Admission;
pub(crate) use background::Background;
pub use background::KernelProgress;
pub use buffer::{DeviceBuffer, RawBuffer};
pub use device::{DeviceMetrics, Gpu};
pub use element::{as_words, as_words_mut, from_words, to_words, Element};
pub use executor::Access;
#[cfg(feature = "openvm")]
pub(crate) use host_memory::available as available_host_memory;
pub use keep_warm::KeepWarm;
pub(crate) use kernel::kernel;
pub use kernel::{element_type, raw, BindingDecl, GeneratedForm, Grid, Kernel, KernelDecl, Variant, MAX_BINDINGS};
pub use matrix::{DeviceMatrix, Segment};
pub use memory::Allocation;
pub use pipeline::{CompiledKernel, GeneratedKernel};
pub(crate) use pool::size_class;
pub use profile::{Capabilities, LimitProfile};
pub use recorder::{Completed, Recorder, Running, Ticket};
pub use times::{KernelRun, KernelTime, KernelTimes};
