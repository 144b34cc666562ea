//! A stand-in for the device, for tests: recorded work is executed by other means than wgpu.
//!
//! A device that is opened with [`GpuOptions::machine`](super::GpuOptions) hands its recordings to a [`Machine`], which executes them at
//! submission on memory of its own. `on_machine` makes an executor of it.

use std::ops::Range;

pub use super::executor::{Binding, KernelId, LinkedKernel, MemoryId};

/// Executes kernels on memory of its own. Offsets and sizes are in bytes, multiples of four.
pub trait Machine: std::fmt::Debug + Send + Sync {
    /// New memory with undefined contents.
    fn create(&self, memory: MemoryId, bytes: u64);

    /// Ends the life of memory that nothing uses any more.
    fn destroy(&self, memory: MemoryId);

    /// Host to memory.
    fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]);

    /// Memory to host.
    fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8>;

    /// Prepares a kernel; the same one may come several times, and several threads at once.
    ///
    /// # Errors
    ///
    /// Why it cannot be compiled.
    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String>;

    /// Runs a kernel to its end. Called under the lock that keeps submissions in order, so a thread that waits in here must not take up other
    /// work, as workers of rayon's common pool do: that may want the lock, too.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments or with what the kernel did; it becomes the error of the recording.
    fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String>;
}

/// A kernel with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'a> {
    /// The kernel.
    pub kernel: KernelId,
    /// What each binding is bound to.
    pub buffers: &'a [Binding],
    /// Parameter words.
    pub params: &'a [u32],
    /// Workgroups.
    pub grid: [u32; 3],
}
