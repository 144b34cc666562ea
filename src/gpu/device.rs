//! The open device: what is shared by everything that runs on it.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex,
    },
};

use super::{
    adapter::AdapterSummary,
    background::{Background, KernelProgress},
    buffer::DeviceBuffer,
    element::{are_below, as_words, Element},
    executor::Executor,
    faults::Faults,
    kernel::{KernelDecl, Variant},
    ledger::AdmissionId,
    memory::{DeviceMemory, Limits, MemoryGuard},
    pipeline::{CompiledKernel, GeneratedKernel, Kernels},
    profile::Capabilities,
    times::{KernelRun, KernelTimes, Measured},
    warm::Warm,
};
use crate::error::{Error, Result};

/// A handle to an open GPU. Clones share the device, its pool and its pipelines, from any number of threads.
#[derive(Clone)]
pub struct Gpu {
    pub(super) shared: Arc<Shared>,
    /// What allocations are charged to; see [`Gpu::under`].
    pub(super) admission: Option<AdmissionId>,
}

pub(super) struct Shared {
    /// Runs what is recorded: wgpu, or a machine in tests.
    pub executor: Arc<dyn Executor>,
    pub adapter: AdapterSummary,
    pub capabilities: Capabilities,
    pub memory: Arc<DeviceMemory>,
    pub kernels: Kernels,
    pub faults: Arc<Faults>,
    pub host_waits: AtomicU64,
    pub submissions: Mutex<Sequence>,
    pub tables: Mutex<HashMap<String, DeviceBuffer<u32>>>,
    pub background: Background,
    pub warm: Warm,
}

/// What a device is made of.
pub(super) struct Parts {
    pub executor: Arc<dyn Executor>,
    pub adapter: AdapterSummary,
    pub capabilities: Capabilities,
    /// What the executor reports aside from return values.
    pub faults: Arc<Faults>,
    pub limits: Limits,
    pub warm: Warm,
}

/// The number of the last submission and the device word that every submission advances.
///
/// A driver may report success for work that never ran (wgpu #9545 on Metal); a word that lags behind tells.
#[derive(Default)]
pub(super) struct Sequence {
    pub submitted: u32,
    pub word: Option<DeviceBuffer<u32>>,
}

/// Counters of a device since [`Gpu::reset_metrics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceMetrics {
    /// Times the host waited for the device.
    pub host_waits: u64,
    /// The most device memory in use at once, bytes.
    pub peak_bytes: u64,
    /// Device memory in use now, bytes.
    pub bytes_in_use: u64,
    /// Times that a proof or an upload waited for memory that others used or had been promised.
    pub memory_waits: u64,
}

impl Sequence {
    /// The device's counter, zero at first.
    pub(super) fn word(&mut self, gpu: &Gpu) -> Result<DeviceBuffer<u32>> {
        if let Some(word) = &self.word {
            return Ok(word.clone());
        }
        let word = gpu.charging(None).upload(&[self.submitted], "sequence")?;
        Ok(self.word.insert(word).clone())
    }
}

impl Gpu {
    /// Whether the device is gone for good: everything that is asked of it is [`Error::DeviceLost`].
    pub fn is_lost(&self) -> bool {
        self.shared.faults.check_lost().is_err()
    }

    /// Name, driver and kind of the adapter.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.shared.adapter
    }

    /// Counters since [`Gpu::reset_metrics`].
    pub fn metrics(&self) -> DeviceMetrics {
        let memory = self.memory();
        DeviceMetrics {
            host_waits: self.shared.host_waits.load(Ordering::Relaxed),
            peak_bytes: memory.pool.peak(),
            bytes_in_use: memory.pool.in_use(),
            memory_waits: memory.ledger.waited(),
        }
    }

    /// Sets the counters to zero and the high-water mark to what is in use.
    pub fn reset_metrics(&self) {
        self.shared.host_waits.store(0, Ordering::Relaxed);
        let mut memory = self.memory();
        memory.pool.reset_peak();
        memory.ledger.reset_waited();
        drop(memory);
        if let Some(times) = self.shared.executor.kernel_times() {
            *times.lock().unwrap_or_else(|p| p.into_inner()) = Measured::default();
        }
    }

    /// Device time by kernel since [`Gpu::reset_metrics`]; empty unless the device was opened with
    /// [`GpuOptions::kernel_times`](super::GpuOptions).
    pub fn kernel_times(&self) -> KernelTimes {
        let times = self.shared.executor.kernel_times();
        times.map_or_else(KernelTimes::new, |times| times.lock().unwrap_or_else(|p| p.into_inner()).times.clone())
    }

    /// The executions of kernels one by one since [`Gpu::reset_metrics`], in the order of their submissions; empty as [`Gpu::kernel_times`] is.
    pub fn kernel_runs(&self) -> Vec<KernelRun> {
        let times = self.shared.executor.kernel_times();
        times.map_or_else(Vec::new, |times| times.lock().unwrap_or_else(|p| p.into_inner()).runs.clone())
    }

    /// The memory budget, bytes.
    pub fn memory_budget(&self) -> u64 {
        self.memory().pool.budget()
    }

    /// Gives all cached free memory back to the driver, staging included.
    pub fn trim_memory(&self) {
        self.shared.executor.trim();
        self.shared.memory.trim();
    }

    /// Stores the compiled pipelines on disk where the device supports it, so that the next process starts fast.
    pub fn store_pipelines(&self) {
        self.shared.executor.store_kernels();
    }

    /// Waits until all kernels are compiled whose compilation was started in the background.
    pub fn wait_for_kernels(&self) {
        self.background().wait();
    }

    /// Where the compilation in the background stands, which [`Gpu::wait_for_kernels`] waits for.
    pub fn kernel_progress(&self) -> KernelProgress {
        self.background().progress()
    }
}

#[doc(hidden)]
impl Gpu {
    pub(super) fn of(parts: Parts) -> Self {
        let Parts { executor, adapter, capabilities, faults, limits, warm } = parts;
        let shared = Shared {
            memory: Arc::new(DeviceMemory::new(executor.clone(), limits)),
            kernels: Kernels::new(executor.clone(), capabilities.clone()),
            executor,
            adapter,
            capabilities,
            faults,
            host_waits: AtomicU64::new(0),
            submissions: Mutex::default(),
            tables: Mutex::default(),
            background: Background::default(),
            warm,
        };
        Self { shared: Arc::new(shared), admission: None }
    }

    /// That the device can be used by this process: what waits for other threads asks first.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a child of the process that opened the device.
    pub fn check_process(&self) -> Result<()> {
        self.shared.faults.check_process()
    }

    /// Whether this is a handle to the same open device: it may be another one of the same adapter.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// For tests: loses the device as a driver reset would.
    pub fn lose(&self) {
        self.shared.executor.lose();
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// Allocates `len` elements; `what` names the buffer in errors.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooLarge`], [`Error::OutOfBudget`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn alloc<T: Element>(&self, len: usize, what: &str) -> Result<DeviceBuffer<T>> {
        self.shared.faults.check_lost()?;
        let bytes = (len * T::WORDS * 4) as u64;
        Ok(DeviceBuffer::new(self.shared.memory.alloc(bytes, what, self.admission)?, len))
    }

    /// A new buffer with these values, before any work that is submitted later.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`]; [`Error::InvalidInput`] for words that are none of a `T`, which only unsafe code can make.
    pub fn upload<T: Element>(&self, values: &[T], what: &str) -> Result<DeviceBuffer<T>> {
        self.upload_named(values, what, |at| format!("element {at}"))
    }

    /// The same; `name` tells which element an error is about.
    pub(crate) fn upload_named<T: Element>(
        &self,
        values: &[T],
        what: &str,
        name: impl Fn(usize) -> String,
    ) -> Result<DeviceBuffer<T>> {
        let buffer = self.alloc(values.len(), what)?;
        let words = as_words(values);
        if words.is_empty() {
            return Ok(buffer);
        }
        let (sound, faults) = (AtomicBool::new(true), self.shared.faults.count());
        let look = |bytes: &[u8]| {
            if T::BELOW.is_some_and(|bound| !are_below(bytemuck::cast_slice(bytes), bound)) {
                sound.store(false, Ordering::Relaxed);
            }
        };
        let written = self.shared.executor.write(buffer.raw().memory, bytemuck::cast_slice(words), &look);
        written.map_err(|error| Error::gpu("upload", error))?;
        self.shared.faults.check("upload", faults)?;
        let bad =
            if sound.into_inner() { None } else { words.iter().position(|&word| T::BELOW.is_some_and(|p| word >= p)) };
        let refused = |at: usize| {
            let text = format!("{what}: {} is the word {}, not below p", name(at / T::WORDS), words[at]);
            Err(Error::InvalidInput(text))
        };
        bad.map_or(Ok(buffer), refused)
    }

    /// A constant table that is made once per device and kept, found again by `key`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn table<T: Element>(&self, key: &str, make: impl FnOnce() -> Vec<T>) -> Result<DeviceBuffer<T>> {
        let tables = || self.shared.tables.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(table) = tables().get(key) {
            return Ok(table.cast());
        }
        // not under the lock: a large upload runs on rayon, whose worker may take up a proof that comes here, too. Of two that are made at
        // once the first stays.
        let table = self.charging(None).upload(&make(), key)?;
        Ok(tables().entry(key.to_owned()).or_insert_with(|| table.cast()).cast())
    }

    /// The kernels that were compiled on this device so far, each with its variant; generated ones are not among them.
    pub fn compiled_kernels(&self) -> Vec<(&'static KernelDecl, Variant)> {
        self.shared.kernels.compiled()
    }

    /// Compiles kernels before they are used, on as many threads as there are cores; waits for it.
    #[cfg(feature = "openvm")]
    pub(crate) fn compile_ahead(&self, kernels: Vec<&'static KernelDecl>) {
        let new =
            |decl: &&'static KernelDecl| self.shared.kernels.compiled_pipeline(decl, &Variant::default()).is_none();
        let kernels: Vec<_> = kernels.into_iter().filter(new).map(|decl| (decl, Variant::default())).collect();
        self.shared.kernels.compile_all(kernels);
    }

    /// Compiles a generated kernel. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// What the shader compiler reports.
    pub fn compile_generated(&self, kernel: &GeneratedKernel) -> Result<CompiledKernel> {
        self.shared.kernels.compile_generated(kernel)
    }

    /// This device, with what is allocated through it charged to `admission`.
    pub(super) fn charging(&self, admission: Option<AdmissionId>) -> Self {
        Self { shared: self.shared.clone(), admission }
    }

    /// Whether a compiler for the host's cores, a software driver's or a machine's, makes the kernels.
    pub(crate) fn compiles_on_host(&self) -> bool {
        self.capabilities().software || self.adapter().backend == "noop"
    }

    pub(crate) fn background(&self) -> &Background {
        &self.shared.background
    }

    pub(super) fn memory(&self) -> MemoryGuard<'_> {
        self.shared.memory.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gpu::GpuOptions, kernels::sum_rows::SumRows};

    #[test]
    fn buffers_of_another_device_are_refused() {
        let (gpu, other) = (crate::gpu::testing::gpu(), Gpu::new(&GpuOptions::default()).unwrap());
        let (own, foreign) = (gpu.upload(&[1u32, 2], "test").unwrap(), other.upload(&[3u32, 4], "test").unwrap());
        let target = gpu.upload(&[5u32, 6], "test").unwrap();
        let refused = |record: &dyn Fn(&mut crate::gpu::Recorder)| {
            let mut rec = gpu.recorder("test");
            record(&mut rec);
            matches!(rec.submit(), Err(Error::InvalidInput(_)))
        };
        assert!(!refused(&|rec| rec.copy((&own, 0), (&target, 1), 1)));
        assert!(refused(&|rec| rec.copy((&foreign, 0), (&target, 1), 1)));
        assert!(refused(&|rec| rec.clear(&foreign)));
        assert!(refused(&|rec| _ = rec.download(&foreign)));
        let (values, sum) = (gpu.alloc(2, "values").unwrap(), gpu.alloc(1, "sum").unwrap());
        let foreign_sum = other.alloc(1, "sum").unwrap();
        let sum_to = |out| SumRows { values: &values, rows: 1, len: 2, out };
        assert!(!refused(&|rec| sum_to(&sum).record(rec)));
        assert!(refused(&|rec| sum_to(&foreign_sum).record(rec)));
        assert_eq!(gpu.download(&target).unwrap(), [5, 1]);
    }

    #[test]
    fn work_recorded_before_a_loss_is_an_error() {
        let gpu = Gpu::new(&GpuOptions::default()).unwrap();
        let buffer = gpu.upload(&[1u32, 2, 3], "test").unwrap();
        assert_eq!(gpu.download(&buffer).unwrap(), [1, 2, 3]);
        let mut rec = gpu.recorder("test");
        rec.clear(&buffer);
        let ticket = rec.download(&buffer);
        gpu.lose();
        let error = rec.wait().and_then(|done| done.take(ticket)).unwrap_err();
        assert!(matches!(error, Error::DeviceLost(_)), "{error}");
        assert!(matches!(gpu.synchronize(), Err(Error::DeviceLost(_))));
        assert!(matches!(gpu.upload(&[1u32], "test"), Err(Error::DeviceLost(_))));
    }
}
