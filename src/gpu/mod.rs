//! The GPU runtime: the only place that names wgpu.
//!
//! A [`Gpu`] is an open device with its memory pool and pipelines. Work is recorded kernel by kernel with a [`Recorder`] and
//! submitted in one go; kernels are declared by [`kernel!`](crate::kernel) next to their WGSL file.

mod adapter;
mod admission;
mod background;
mod buffer;
mod bulk;
mod device;
mod element;
mod kernel;
mod linker;
#[doc(hidden)]
pub mod machine;
mod matrix;
mod pipeline;
mod pool;
mod profile;
mod recorder;
mod staging;
#[doc(hidden)]
pub mod testing;
mod timing;

pub use adapter::{adapters, required, AdapterReport, AdapterSummary, GpuOptions};
pub use admission::Admission;
pub(crate) use background::Background;
pub use buffer::DeviceBuffer;
pub use device::{DeviceMetrics, Gpu};
pub use element::{as_words, as_words_mut, from_words, to_words, Element};
pub use kernel::{raw, Access, Grid, Kernel, KernelDecl, RawBuffer, Variant};
pub use matrix::{DeviceMatrix, Segment};
pub use pipeline::{CompiledKernel, GeneratedKernel};
pub(crate) use pool::size_class;
pub use profile::{Capabilities, LimitProfile};
pub use recorder::{Recorder, Running};
pub use staging::{Completed, Ticket};
pub use timing::{KernelTime, KernelTimes};

use crate::error::Result;

/// Uploads of at least this many bytes go through staging that several threads fill.
const BULK_THRESHOLD: usize = 1 << 20;

impl Gpu {
    /// A new buffer with these values, before any work that is submitted later.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn upload<T: Element>(&self, values: &[T], what: &str) -> Result<DeviceBuffer<T>> {
        let buffer = self.alloc(values.len(), what)?;
        let bytes: &[u8] = bytemuck::cast_slice(as_words(values));
        if let Some(machine) = &self.shared.machine {
            machine.write(&buffer.raw().buffer, 0, bytes);
        } else if bytes.len() >= BULK_THRESHOLD {
            bulk::upload(self, &buffer.raw().buffer, bytes)?;
        } else if !bytes.is_empty() {
            let faults = self.shared.faults.count();
            self.queue().write_buffer(&buffer.raw().buffer, 0, bytes);
            self.shared.faults.check("upload", faults)?;
        }
        Ok(buffer)
    }

    /// The contents of a buffer. Waits; for tests and debugging.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn download<T: Element>(&self, buffer: &DeviceBuffer<T>) -> Result<Vec<T>> {
        let mut rec = self.recorder("download");
        let ticket = rec.download(buffer);
        rec.wait()?.take(ticket)
    }
}
