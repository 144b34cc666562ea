//! The executor of every real device: wgpu.

mod bulk;
mod disk_cache;
mod encode;
mod pipelines;
mod readback;
mod timer;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

pub(super) use self::disk_cache::DiskCache;

use self::{
    bulk::Staging,
    encode::{Context, Encoded, Encoder},
    pipelines::{Buffers, WgpuPipeline},
    readback::ReadChunks,
    timer::Timer,
};
use super::{
    driver,
    executor::{Executor, KernelId, LinkedKernel, Look, MemoryId, Part, Readback},
    faults::Faults,
    process,
    profile::Capabilities,
    times::Measured,
};
use crate::error::{fault, Fault};

/// Uploads of at least this many bytes are the work of several threads.
const BULK_THRESHOLD: usize = 1 << 20;

/// Up to this size memory can be bound as constants: as much of it as every device binds so.
const MAX_CONSTANT_BYTES: u64 = 16 << 10;

/// A device of wgpu.
pub(super) struct OnWgpu {
    /// Only where its memory is asked for.
    adapter: Option<wgpu::Adapter>,
    device: wgpu::Device,
    queue: wgpu::Queue,
    capabilities: Capabilities,
    buffers: RwLock<Buffers>,
    /// By their numbers; `None` where a kernel was released.
    pipelines: RwLock<Vec<Option<Arc<WgpuPipeline>>>>,
    disk: Option<DiskCache>,
    chunks: ReadChunks,
    staging: Staging,
    /// Only when kernels are timed.
    times: Option<Mutex<Measured>>,
    faults: Arc<Faults>,
}

impl OnWgpu {
    /// Takes an open device over; what wgpu reports aside from return values goes to `faults`.
    pub(super) fn new(
        (device, queue): (wgpu::Device, wgpu::Queue),
        adapter: Option<wgpu::Adapter>,
        disk: Option<DiskCache>,
        capabilities: &Capabilities,
        faults: &Arc<Faults>,
        time_kernels: bool,
    ) -> Self {
        process::close_at_exit();
        let (on_error, on_lost) = (faults.clone(), faults.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error.record(fault(error))));
        device.set_device_lost_callback(move |reason, message| on_lost.record_lost(format!("{reason:?} {message}")));
        Self {
            buffers: RwLock::default(),
            pipelines: RwLock::default(),
            disk,
            chunks: ReadChunks::new(&device, !capabilities.software),
            staging: Staging::new(&device, &queue),
            times: time_kernels.then(Mutex::default),
            capabilities: capabilities.clone(),
            faults: faults.clone(),
            adapter,
            device,
            queue,
        }
    }

    fn buffer(&self, memory: MemoryId) -> wgpu::Buffer {
        self.buffers.read().unwrap_or_else(PoisonError::into_inner)[&memory].clone()
    }

    fn encode(&self, stage: &'static str, part: &Part, chunk: Option<&wgpu::Buffer>) -> Encoded {
        let buffers = self.buffers.read().unwrap_or_else(PoisonError::into_inner);
        let pipelines = self.pipelines.read().unwrap_or_else(PoisonError::into_inner);
        let immediates = self.capabilities.immediates;
        let context =
            Context { device: &self.device, stage, buffers: &buffers, pipelines: &pipelines, immediates, chunk };
        let mut encoder = Encoder::new(context, self.times.as_ref().map(|_| Timer::new()));
        part.commands.iter().for_each(|command| encoder.push(command));
        encoder.finish()
    }
}

impl Executor for OnWgpu {
    fn create(&self, memory: MemoryId, bytes: u64, what: &str) -> bool {
        let _inside = process::enter();
        let mut usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        usage.set(wgpu::BufferUsages::MAP_WRITE, self.capabilities.direct_upload());
        usage.set(wgpu::BufferUsages::UNIFORM, bytes <= MAX_CONSTANT_BYTES);
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size: bytes, usage, mapped_at_creation: false };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&descriptor);
        let created = pollster::block_on(scope.pop()).is_none();
        if created {
            self.buffers.write().unwrap_or_else(PoisonError::into_inner).insert(memory, buffer);
        }
        created
    }

    fn destroy(&self, memory: MemoryId) {
        let _inside = process::enter();
        let buffer = self.buffers.write().unwrap_or_else(PoisonError::into_inner).remove(&memory);
        buffer.expect("memory is destroyed once").destroy();
    }

    fn write(&self, memory: MemoryId, bytes: &[u8], look: Look<'_>) -> Result<(), Fault> {
        let _inside = process::enter();
        let target = self.buffer(memory);
        if bytes.len() < BULK_THRESHOLD {
            look(bytes);
            self.queue.write_buffer(&target, 0, bytes);
            Ok(())
        } else if self.capabilities.direct_upload() {
            bulk::write_in_place(&self.device, &target, bytes, look)
        } else {
            self.staging.write(&target, bytes, look)
        }
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, Fault> {
        let _inside = process::enter();
        process::close_at_exit();
        let cache = self.disk.as_ref().map(|disk| &disk.cache);
        let pipeline = WgpuPipeline::compile(&self.device, &self.capabilities, cache, kernel)?;
        if let Some(disk) = &self.disk {
            disk.changed();
            // minutes of compilation may be lost otherwise, in each process anew
            if process::is_ending() {
                disk.store();
            }
        }
        let mut pipelines = self.pipelines.write().unwrap_or_else(PoisonError::into_inner);
        pipelines.push(Some(Arc::new(pipeline)));
        Ok(pipelines.len() - 1)
    }

    fn release(&self, kernel: KernelId) {
        let _inside = process::enter();
        let released = self.pipelines.write().unwrap_or_else(PoisonError::into_inner)[kernel].take();
        // not under the lock
        drop(released);
    }

    fn submit(&self, stage: &'static str, part: &Part) -> Result<Option<Box<dyn Readback>>, Fault> {
        let _inside = process::enter();
        let chunk = (part.read_bytes > 0).then(|| self.chunks.take(part.read_bytes));
        let Encoded { commands, uniforms, timer } = self.encode(stage, part, chunk.as_ref().map(|chunk| &chunk.buffer));
        for (buffer, bytes) in uniforms {
            self.queue.write_buffer(&buffer, 0, &bytes);
        }
        let submission = self.queue.submit([commands]);
        let readback = chunk.map(|chunk| self.chunks.map(chunk, part.read_bytes, submission));
        if let (Some(timer), Some(times)) = (timer, &self.times) {
            timer.collect(&self.device, &self.queue, times)?;
        }
        Ok(readback)
    }

    fn available_memory(&self) -> Option<u64> {
        let _inside = process::enter();
        self.adapter.as_ref().and_then(driver::memory)
    }

    fn trim(&self) {
        let _inside = process::enter();
        self.staging.clear();
    }

    fn store_kernels(&self) {
        let _inside = process::enter();
        if let Some(disk) = &self.disk {
            disk.store();
        }
    }

    fn kernel_times(&self) -> Option<&Mutex<Measured>> {
        self.times.as_ref()
    }

    fn lose(&self) {
        self.device.destroy();
        // the loss is reported by a poll that finds the queue empty, which others may still fill
        let start = Instant::now();
        while self.faults.check_lost().is_ok() && start.elapsed() < Duration::from_secs(10) {
            let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{
        super::{
            executor::{Command, Place},
            open, GpuOptions,
        },
        *,
    };

    type Write = fn(&OnWgpu, &wgpu::Buffer, &[u8], Look<'_>) -> Result<(), Fault>;

    /// The first `bytes` bytes.
    fn read(device: &OnWgpu, memory: MemoryId, bytes: u64) -> Vec<u8> {
        let mut part = Part::default();
        let to = part.reserve_read(bytes);
        part.commands.push(Command::Read { from: Place { memory, offset: 0 }, to, bytes });
        let readback = device.submit("test", &part).unwrap().expect("something is read");
        readback.wait().unwrap();
        let mut found = vec![];
        readback.read(0..bytes, &mut |bytes| found.extend_from_slice(bytes)).unwrap();
        found
    }

    #[test]
    fn what_is_uploaded_arrives() {
        let device = open::on_wgpu(&GpuOptions::default(), &Arc::default()).unwrap().executor;
        let mut ways: Vec<Write> = vec![|device, target, bytes, look| device.staging.write(target, bytes, look)];
        if device.capabilities.direct_upload() {
            ways.push(|device, target, bytes, look| bulk::write_in_place(&device.device, target, bytes, look));
        }
        // several pieces, and staging that was used before
        for (factor, len) in [(1, 1 << 18), (2, 9 << 20), (3, (4 << 20) + 5)] {
            let values: Vec<u32> = (0..len).map(|i| i * factor).collect();
            let bytes: &[u8] = bytemuck::cast_slice(&values);
            for (memory, write) in (0..).zip(&ways) {
                assert!(device.create(memory, bytes.len() as u64, "test"));
                let seen = AtomicUsize::new(0);
                let look = |part: &[u8]| _ = seen.fetch_add(part.len(), Ordering::Relaxed);
                write(&device, &device.buffer(memory), bytes, &look).unwrap();
                assert_eq!(seen.into_inner(), bytes.len());
                assert!(read(&device, memory, bytes.len() as u64) == bytes);
                device.destroy(memory);
            }
        }
        assert!((1..=bulk::KEPT_PIECES).contains(&device.staging.kept()));
        device.trim();
        assert_eq!(device.staging.kept(), 0);
    }
}
