//! Host-visible memory on its way back from the device.

use std::{
    ops::Range,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, Instant},
};

use crate::{
    error::{fault, Fault},
    gpu::{executor::Readback, process},
};

/// Smallest chunk: a proof makes thousands of small transfers, and creating a buffer costs more than any of them.
const CHUNK_BYTES: u64 = 256 << 10;

/// Largest chunk that is kept: larger ones are rare (whole matrices, in tests) and would only hold memory.
const MOST_KEPT_BYTES: u64 = 16 << 20;

/// How long a wait spins.
const SPIN: Duration = Duration::from_millis(1);

/// Chunks that wait for the next submission.
#[derive(Clone)]
pub(super) struct ReadChunks {
    device: wgpu::Device,
    /// Whether a wait spins at first.
    spins: bool,
    free: Arc<Mutex<Vec<ReadChunk>>>,
}

/// Where a submission copies what it reads back.
pub(super) struct ReadChunk {
    pub buffer: wgpu::Buffer,
    size: u64,
}

/// A chunk that a submission fills.
struct Filled {
    chunk: Option<ReadChunk>,
    chunks: ReadChunks,
    submission: wgpu::SubmissionIndex,
    mapped: Arc<AtomicBool>,
}

impl ReadChunks {
    pub(super) fn new(device: &wgpu::Device, spins: bool) -> Self {
        Self { device: device.clone(), spins, free: Arc::default() }
    }

    /// A chunk with room for `bytes` bytes.
    pub(super) fn take(&self, bytes: u64) -> ReadChunk {
        let mut free = self.free();
        match free.iter().position(|chunk| chunk.size >= bytes) {
            Some(at) => free.swap_remove(at),
            None => self.create(bytes),
        }
    }

    /// Maps the first `bytes` bytes of a chunk as soon as `submission` has filled them.
    pub(super) fn map(&self, chunk: ReadChunk, bytes: u64, submission: wgpu::SubmissionIndex) -> Box<dyn Readback> {
        let mapped = Arc::new(AtomicBool::new(false));
        let done = mapped.clone();
        chunk.buffer.map_async(wgpu::MapMode::Read, ..bytes, move |_| done.store(true, Ordering::Release));
        Box::new(Filled { chunk: Some(chunk), chunks: self.clone(), submission, mapped })
    }

    fn create(&self, bytes: u64) -> ReadChunk {
        let size = bytes.max(CHUNK_BYTES).next_multiple_of(8);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        ReadChunk { buffer, size }
    }

    fn free(&self) -> MutexGuard<'_, Vec<ReadChunk>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readback for Filled {
    /// Spins for a moment before it sleeps: on an H200 a short wait takes 30 us spinning and 70 us sleeping.
    fn wait(&self) -> Result<(), Fault> {
        let _inside = process::enter();
        let device = &self.chunks.device;
        let start = Instant::now();
        while self.chunks.spins && start.elapsed() < SPIN {
            device.poll(wgpu::PollType::Poll).map_err(fault)?;
            if self.mapped.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        let submission_index = Some(self.submission.clone());
        device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).map_err(fault)?;
        Ok(())
    }

    fn read(&self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let chunk = self.chunk.as_ref().expect("until it is dropped");
        take(&chunk.buffer.get_mapped_range(range).map_err(fault)?);
        Ok(())
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _inside = process::enter();
        let chunk = self.chunk.take().expect("dropped once");
        chunk.buffer.unmap();
        if chunk.size <= MOST_KEPT_BYTES {
            self.chunks.free().push(chunk);
        }
    }
}
