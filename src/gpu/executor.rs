//! The seam between recorded work, which is data, and what runs it.
//!
//! A recording is a list of [`Command`]s. An [`Executor`] runs such lists on memory and kernels that it knows by number: wgpu
//! (`on_wgpu`), or the machine for tests (`on_machine`). Nothing above this file knows which one it is.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, Weak},
};

use super::times::Measured;
use crate::error::Fault;

/// Names memory of an `Executor`; none is used twice, and later ones are larger.
pub type MemoryId = u64;

/// Names a kernel that an `Executor` has compiled.
pub type KernelId = usize;

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
    /// `var<uniform>`: few words, which all threads read at the same place at the same time. Some drivers load them once for all threads.
    Constant,
}

/// A kernel variant as the shader compiler gets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkedKernel {
    /// Path below `wgsl/`, or the name of a generated kernel.
    pub name: String,
    /// WGSL linked for the device.
    pub wgsl: String,
    /// Values of WGSL `override`s.
    pub overrides: Vec<(&'static str, u32)>,
    /// Access of `@group(0) @binding(0..)`, in order.
    pub bindings: Vec<Access>,
    /// Number of parameter words; they are immediates where the device has those, else in a uniform buffer behind the bindings.
    pub params: usize,
    /// Threads per workgroup.
    pub workgroup: u32,
    /// Whether the device compiles with bounds checks, loop bounds and zeroed workgroup memory.
    pub runtime_checks: bool,
}

/// Memory with the size that was asked for, which the pool rounds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The memory.
    pub memory: MemoryId,
    /// How much of it holds something, from the start.
    pub bytes: u64,
}

/// Where something begins in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub memory: MemoryId,
    /// Bytes from the start, a multiple of four.
    pub offset: u64,
}

/// Recorded work. Sizes and offsets are in bytes, multiples of four.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Runs a kernel on so many workgroups.
    Dispatch { kernel: KernelId, bindings: Vec<Binding>, params: Vec<u32>, grid: [u32; 3] },
    /// Sets memory to zero from its start.
    Clear { memory: MemoryId, bytes: u64 },
    /// Memory to memory.
    Copy { from: Place, to: Place, bytes: u64 },
    /// Memory to the host, at `to` of what this submission reads back.
    Read { from: Place, to: u64, bytes: u64 },
}

/// What is executed in one go, in order.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub commands: Vec<Command>,
    /// How much its [`Command::Read`]s bring to the host.
    pub read_bytes: u64,
}

impl Part {
    /// A place for `bytes` bytes on the host; such places start at multiples of eight, as mapping wants.
    pub(super) fn reserve_read(&mut self, bytes: u64) -> u64 {
        let at = self.read_bytes.next_multiple_of(8);
        self.read_bytes = at + bytes;
        at
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.commands.clear();
        self.read_bytes = 0;
    }
}

/// Sees each part of an upload while it is copied, so that it is read once.
pub(super) type Look<'a> = &'a (dyn Fn(&[u8]) + Sync);

/// Owns memory and kernels, and executes parts of recordings in the order of their submission.
pub(super) trait Executor: Send + Sync {
    /// New memory with undefined contents; `false` when there is none left.
    fn create(&self, memory: MemoryId, bytes: u64, what: &str) -> bool;

    /// Ends the life of memory that nothing uses any more.
    fn destroy(&self, memory: MemoryId);

    /// Host to the start of memory, before everything that is submitted later. `look` sees all of it, in parts of whole words.
    fn write(&self, memory: MemoryId, bytes: &[u8], look: Look<'_>) -> Result<(), Fault>;

    /// Prepares a kernel. Several threads may at once.
    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, Fault>;

    /// Ends the life of a kernel.
    fn release(&self, _kernel: KernelId) {}

    /// Starts to execute `part`, whose stage errors and labels name. There is a readback if it reads anything.
    fn submit(&self, stage: &'static str, part: &Part) -> Result<Option<Box<dyn Readback>>, Fault>;

    /// Memory that this process can have now, its own included, bytes, where the driver tells: less than at first if other programs took some.
    fn available_memory(&self) -> Option<u64> {
        None
    }

    /// Gives memory back that is kept for later transfers.
    fn trim(&self) {}

    /// Stores compiled kernels where the next process finds them.
    fn store_kernels(&self) {}

    /// Device time by kernel, where it is measured.
    fn kernel_times(&self) -> Option<&Mutex<Measured>> {
        None
    }

    /// For tests: loses the device as a driver reset would.
    fn lose(&self);
}

/// What one submission reads back.
pub(super) trait Readback: Send {
    /// Waits until everything has arrived.
    fn wait(&self) -> Result<(), Fault>;

    /// Shows a range of bytes to `take`, after [`Readback::wait`].
    fn read(&self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Fault>;
}

/// A compiled kernel; its last handle releases it.
#[derive(Clone)]
pub(super) struct Pipeline(Arc<Compiled>);

struct Compiled {
    id: KernelId,
    // weak, because keys that outlive their device hold kernels
    executor: Weak<dyn Executor>,
}

impl Pipeline {
    /// Compiles `kernel`.
    pub(super) fn new(executor: &Arc<dyn Executor>, kernel: LinkedKernel) -> Result<Self, Fault> {
        let id = executor.compile(kernel)?;
        Ok(Self(Arc::new(Compiled { id, executor: Arc::downgrade(executor) })))
    }

    pub(super) fn id(&self) -> KernelId {
        self.0.id
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pipeline").field(&self.0.id).finish()
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(executor) = self.executor.upgrade() {
            executor.release(self.id);
        }
    }
}
