//! A stand-in for the device, for tests: recorded work is executed by other means than wgpu.
//!
//! A [`Gpu`] that is opened with [`GpuOptions::machine`](super::GpuOptions) encodes nothing. Its recordings become lists of commands
//! that a [`Machine`] executes at submission, and downloads come from the machine's memory. Underneath lies a device of wgpu's `noop`
//! backend (a feature of wgpu that tests enable) with the features and limits of an Apple GPU: it validates kernels and layouts as
//! Metal's would be, and holds what is on its way to the host.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex, MutexGuard,
    },
};

use super::{pipeline::Pipeline, Access, Gpu, RawBuffer};
use crate::error::{Error, Result};

/// `maxBufferLength` of an M1 with 8 GiB is about this; the memory is the host's.
const MAX_BUFFER_BYTES: u64 = 4 << 30;

/// Names a buffer of a [`Machine`].
pub type MemoryId = u64;

/// Names a kernel that a [`Machine`] has compiled.
pub type KernelId = usize;

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

    /// Runs a kernel to its end.
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

/// Memory with the size that was asked for, which the pool rounds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The memory.
    pub memory: MemoryId,
    /// How much of it holds something, from the start.
    pub bytes: u64,
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

/// A machine in the place of an open device.
#[derive(Debug)]
pub(super) struct Installed {
    machine: Arc<dyn Machine>,
    memory: Mutex<HashMap<wgpu::Buffer, MemoryId>>,
    next: AtomicU64,
}

/// Recorded work, in order.
pub(super) enum Command {
    Clear { target: wgpu::Buffer, bytes: u64 },
    Copy { source: (wgpu::Buffer, u64), target: (wgpu::Buffer, u64), bytes: u64 },
    Download { source: (wgpu::Buffer, u64), staging: (wgpu::Buffer, u64), bytes: u64 },
    Dispatch { kernel: KernelId, buffers: Vec<RawBuffer>, params: Vec<u32>, grid: [u32; 3] },
}

impl Command {
    pub fn dispatch(pipeline: &Pipeline, buffers: &[&RawBuffer], params: &[u32], grid: [u32; 3]) -> Self {
        let kernel = pipeline.on_machine.expect("compiled on the machine, too");
        let buffers = buffers.iter().map(|buffer| (*buffer).clone()).collect();
        Self::Dispatch { kernel, buffers, params: params.to_vec(), grid }
    }
}

impl Installed {
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self { machine, memory: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Compiles a kernel that the device has accepted.
    pub fn compile(&self, kernel: LinkedKernel) -> Result<KernelId> {
        let context = kernel.name.clone();
        self.machine.compile(kernel).map_err(|message| Error::Gpu { context, message })
    }

    /// Gives the memory of `buffer` to the machine. The buffer itself may be of any size.
    pub fn create(&self, buffer: &wgpu::Buffer, bytes: u64) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.ids().insert(buffer.clone(), id);
        self.machine.create(id, bytes);
    }

    pub fn destroy(&self, buffer: &wgpu::Buffer) {
        let id = self.ids().remove(buffer);
        self.machine.destroy(id.expect("buffers are destroyed once"));
    }

    pub fn write(&self, target: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.machine.write(self.id(target), offset, bytes);
    }

    /// Executes a recording. The caller makes sure that no other one runs.
    pub fn execute(&self, gpu: &Gpu, commands: impl Iterator<Item = Command>) -> Result<(), String> {
        let read = |(source, from): (wgpu::Buffer, u64), bytes| self.machine.read(self.id(&source), from..from + bytes);
        for command in commands {
            match command {
                Command::Clear { target, bytes } => self.write(&target, 0, &vec![0; bytes as usize]),
                Command::Copy { source, target: (target, to), bytes } => self.write(&target, to, &read(source, bytes)),
                Command::Download { source, staging: (staging, to), bytes } => {
                    gpu.queue().write_buffer(&staging, to, &read(source, bytes));
                }
                Command::Dispatch { kernel, buffers, params, grid } => {
                    let binding = |buffer: &RawBuffer| Binding { memory: self.id(&buffer.buffer), bytes: buffer.bytes };
                    let buffers: Vec<_> = buffers.iter().map(binding).collect();
                    self.machine.dispatch(&Dispatch { kernel, buffers: &buffers, params: &params, grid })?;
                }
            }
        }
        Ok(())
    }

    fn id(&self, buffer: &wgpu::Buffer) -> MemoryId {
        *self.ids().get(buffer).expect("memory of the machine")
    }

    fn ids(&self) -> MutexGuard<'_, HashMap<wgpu::Buffer, MemoryId>> {
        self.memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An adapter that executes nothing and looks like an Apple GPU under Metal, as wgpu-hal describes those.
pub(super) fn adapter() -> Result<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        features: Some(wgpu::Features::SHADER_INT64 | wgpu::Features::SUBGROUP | wgpu::Features::IMMEDIATES),
        limits: Some(wgpu::Limits {
            max_storage_buffers_per_shader_stage: 29,
            max_compute_workgroup_storage_size: 32 << 10,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroups_per_dimension: 65_535,
            max_immediate_size: 4096,
            max_buffer_size: MAX_BUFFER_BYTES,
            max_storage_buffer_binding_size: MAX_BUFFER_BYTES,
            ..wgpu::Limits::unlimited()
        }),
        subgroup_min_size: Some(32),
        subgroup_max_size: Some(32),
        ..wgpu::NoopBackendOptions::enabled()
    };
    let found = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::NOOP));
    found.into_iter().next().ok_or_else(|| Error::NoAdapter {
        searched: "wgpu's noop backend".into(),
        hint: "a machine in place of the device needs wgpu's feature `noop`",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gpu::{GpuOptions, LimitProfile},
        kernels::sum_rows::sum_rows,
    };

    /// Memory, and a device that may fail silently: the only kernel it knows is the submission counter.
    #[derive(Debug, Default)]
    struct Counter {
        memory: Mutex<HashMap<MemoryId, Vec<u8>>>,
        idle: bool,
    }

    impl Machine for Counter {
        fn create(&self, memory: MemoryId, bytes: u64) {
            self.memory.lock().unwrap().insert(memory, vec![0xab; bytes as usize]);
        }

        fn destroy(&self, memory: MemoryId) {
            self.memory.lock().unwrap().remove(&memory).unwrap();
        }

        fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]) {
            let mut all = self.memory.lock().unwrap();
            all.get_mut(&memory).unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8> {
            self.memory.lock().unwrap()[&memory][range.start as usize..range.end as usize].to_vec()
        }

        fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String> {
            Ok(usize::from(kernel.name == "sequence.wgsl"))
        }

        fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
            if dispatch.kernel == 0 {
                return Err("unknown kernel".into());
            }
            if !self.idle {
                assert_eq!(dispatch.buffers[0].bytes, 4);
                self.write(dispatch.buffers[0].memory, 0, &dispatch.params[0].to_le_bytes());
            }
            Ok(())
        }
    }

    fn open(machine: Arc<Counter>) -> Gpu {
        let profile = Some(LimitProfile::Native);
        let options =
            GpuOptions { machine: Some(machine), profile, memory_budget: Some(1 << 12), ..GpuOptions::default() };
        Gpu::new(&options).unwrap()
    }

    #[test]
    fn recordings_run_on_the_machine() {
        let machine = Arc::new(Counter::default());
        let gpu = open(machine.clone());
        assert_eq!(gpu.capabilities().storage_buffers, 29);
        assert_eq!(gpu.capabilities().min_subgroup_size, 32);
        let source = gpu.upload(&[1u32, 2, 3, 4, 5], "source").unwrap();
        let nine = gpu.upload(&[9u32], "nine").unwrap();
        let target = gpu.alloc::<u32>(5, "target").unwrap();
        let mut rec = gpu.recorder("test");
        rec.clear(&target);
        rec.copy((&source, 1), (&target, 2), 3);
        let before = rec.download(&target);
        rec.copy((&nine, 0), (&target, 4), 1);
        let after = rec.download_range(&target, 3..5);
        drop((source, nine));
        let done = rec.wait().unwrap();
        assert_eq!(done.take(before).unwrap(), [0, 0, 2, 3, 4]);
        assert_eq!(done.take(after).unwrap(), [3, 9]);
        gpu.trim_memory();
        assert_eq!(gpu.download(&target).unwrap(), [0, 0, 2, 3, 9]);
        // the two buffers in use: `target` and the counter
        assert_eq!(machine.memory.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_a_machine_rejects_fails_the_recording() {
        let gpu = open(Arc::default());
        let values = gpu.alloc(2, "values").unwrap();
        let mut rec = gpu.recorder("test");
        let sum = gpu.alloc(1, "sum").unwrap();
        sum_rows(&mut rec, &values, 1, 2, &sum);
        let error = rec.submit().unwrap_err().to_string();
        assert!(error.contains("unknown kernel"), "{error}");
        gpu.synchronize().unwrap();
    }

    /// The guard against wgpu #9545: work that never ran although nothing failed.
    #[test]
    fn work_that_did_not_run_is_noticed() {
        let gpu = open(Arc::new(Counter { idle: true, ..Counter::default() }));
        assert!(matches!(gpu.synchronize(), Err(Error::StaleSequence { expected: 1, found: 0 })));
    }
}
