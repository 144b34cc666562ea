//! The open device: what is shared by everything that runs on it.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Condvar, Mutex, MutexGuard,
    },
};

use super::{
    adapter::AdapterSummary,
    admission::{AdmissionId, Ledger},
    background::Background,
    bulk::Staging,
    machine::Installed,
    pipeline::PipelineCache,
    pool::Pool,
    staging::FreeChunks,
    timing::KernelTimes,
    Capabilities, DeviceBuffer, Element, Recorder,
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
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: AdapterSummary,
    pub capabilities: Capabilities,
    pub memory: DeviceMemory,
    pub device_memory: Option<u64>,
    /// What executes in place of the device, for tests.
    pub machine: Option<Installed>,
    pub pipelines: PipelineCache,
    pub faults: Arc<Faults>,
    pub host_waits: AtomicU64,
    pub submissions: Mutex<Sequence>,
    pub free_downloads: FreeChunks,
    pub staging: Staging,
    pub time_kernels: bool,
    pub kernel_times: Mutex<KernelTimes>,
    pub tables: Mutex<HashMap<String, DeviceBuffer<u32>>>,
    pub background: Background,
}

/// The pool and who has been promised what of it.
pub(super) struct DeviceMemory {
    accounts: Mutex<MemoryAccounts>,
    /// Memory was released or an admission has ended, and somebody waits.
    pub changed: Condvar,
}

pub(super) struct MemoryAccounts {
    pub pool: Pool<wgpu::Buffer>,
    pub ledger: Ledger,
}

pub(super) type MemoryGuard<'a> = MutexGuard<'a, MemoryAccounts>;

impl DeviceMemory {
    fn new(budget: u64) -> Self {
        let accounts = MemoryAccounts { pool: Pool::new(budget), ledger: Ledger::default() };
        Self { accounts: Mutex::new(accounts), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MemoryGuard<'_> {
        self.accounts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sleeps until [`DeviceMemory::changed`].
    pub fn wait<'a>(&'a self, guard: MemoryGuard<'a>) -> MemoryGuard<'a> {
        self.changed.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// How much memory there is, bytes.
pub(super) struct Memory {
    /// The most that may be in use.
    pub budget: u64,
    /// For tests: where the driver says no.
    pub device: Option<u64>,
}

/// Errors that wgpu reports aside from return values.
///
/// Such an error does not say whose work it came from, so with several threads at work it fails everything that was under way: each
/// asks for the errors since its own beginning.
#[derive(Default)]
pub(super) struct Faults {
    /// How many errors there were, and the last one.
    errors: Mutex<(u64, String)>,
    lost: Mutex<Option<String>>,
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

impl Faults {
    pub fn record(&self, error: String) {
        let mut errors = self.errors.lock().expect("no panic while held");
        *errors = (errors.0 + 1, error);
    }

    pub fn record_lost(&self, reason: String) {
        self.lost.lock().expect("no panic while held").get_or_insert(reason);
    }

    /// A lost device stays lost.
    pub fn check_lost(&self) -> Result<()> {
        let reason = self.lost.lock().expect("no panic while held").clone();
        reason.map_or(Ok(()), |reason| Err(Error::DeviceLost(reason)))
    }

    /// How many errors there were so far.
    pub fn count(&self) -> u64 {
        self.errors.lock().expect("no panic while held").0
    }

    /// That the device is lost, or an error since the count was `since`.
    pub fn check(&self, context: &str, since: u64) -> Result<()> {
        self.check_lost()?;
        let (count, message) = &*self.errors.lock().expect("no panic while held");
        if *count == since {
            return Ok(());
        }
        Err(Error::Gpu { context: context.into(), message: message.clone() })
    }
}

impl Sequence {
    /// The device's counter, zero at first.
    pub fn word(&mut self, gpu: &Gpu) -> Result<DeviceBuffer<u32>> {
        if let Some(word) = &self.word {
            return Ok(word.clone());
        }
        let word = gpu.outside().upload(&[self.submitted], "sequence")?;
        Ok(self.word.insert(word).clone())
    }
}

impl Gpu {
    pub(super) fn open(
        device: wgpu::Device,
        queue: wgpu::Queue,
        adapter: AdapterSummary,
        capabilities: Capabilities,
        memory: Memory,
        time_kernels: bool,
        machine: Option<Installed>,
    ) -> Self {
        let faults = Arc::new(Faults::default());
        let (on_error, on_lost) = (faults.clone(), faults.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error.record(error.to_string())));
        device.set_device_lost_callback(move |reason, message| on_lost.record_lost(format!("{reason:?} {message}")));
        let pipelines = PipelineCache::open(&device, &adapter, &capabilities);
        Self {
            shared: Arc::new(Shared {
                device,
                queue,
                adapter,
                capabilities,
                memory: DeviceMemory::new(memory.budget),
                device_memory: memory.device,
                machine,
                pipelines,
                faults,
                host_waits: AtomicU64::new(0),
                submissions: Mutex::default(),
                free_downloads: Mutex::default(),
                staging: Staging::default(),
                time_kernels,
                kernel_times: Mutex::default(),
                tables: Mutex::default(),
                background: Background::default(),
            }),
            admission: None,
        }
    }

    /// Whether the device is gone for good: everything that is asked of it is [`Error::DeviceLost`].
    pub fn is_lost(&self) -> bool {
        self.shared.faults.check_lost().is_err()
    }

    /// For tests: loses the device as a driver reset would.
    #[doc(hidden)]
    pub fn lose(&self) {
        self.device().destroy();
        // the loss is reported once the queue is empty
        let _ = self.device().poll(wgpu::PollType::wait_indefinitely());
    }

    /// Starts recording work; `stage` names it in errors.
    pub fn recorder(&self, stage: &'static str) -> Recorder {
        Recorder::new(self.clone(), stage)
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
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
        self.shared.kernel_times.lock().unwrap_or_else(|p| p.into_inner()).clear();
    }

    /// Waits until everything that was submitted, uploads included, has run.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn synchronize(&self) -> Result<()> {
        self.recorder("synchronize").wait().map(|_| ())
    }

    /// Device time by kernel since [`Gpu::reset_metrics`]; empty unless the device was opened with
    /// [`GpuOptions::kernel_times`](super::GpuOptions).
    pub fn kernel_times(&self) -> KernelTimes {
        self.shared.kernel_times.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// The memory budget, bytes.
    pub fn memory_budget(&self) -> u64 {
        self.memory().pool.budget()
    }

    /// Gives all cached free memory back to the driver, staging included.
    pub fn trim_memory(&self) {
        self.shared.staging.clear();
        let free = self.memory().pool.trim();
        self.destroy(&free);
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
        let table = self.outside().upload(&make(), key)?;
        Ok(tables().entry(key.to_owned()).or_insert_with(|| table.cast()).cast())
    }

    /// Stores the compiled pipelines on disk where the device supports it, so that the next process starts fast.
    pub fn store_pipelines(&self) {
        self.shared.pipelines.store();
    }

    /// Waits until all kernels are compiled whose compilation was started in the background.
    pub fn wait_for_kernels(&self) {
        self.background().wait();
    }

    pub(crate) fn background(&self) -> &Background {
        &self.shared.background
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    pub(super) fn memory(&self) -> MemoryGuard<'_> {
        self.shared.memory.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::GpuOptions;

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
        assert!(!refused(&|rec| crate::kernels::sum_rows::sum_rows(rec, &values, 1, 2, &sum)));
        assert!(refused(&|rec| crate::kernels::sum_rows::sum_rows(rec, &values, 1, 2, &foreign_sum)));
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
