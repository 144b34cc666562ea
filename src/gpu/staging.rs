//! Host-visible memory on its way back from the device.

use std::{
    marker::PhantomData,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex,
    },
};

use super::{element, Element, Gpu};
use crate::error::{Error, Result};

/// Smallest staging chunk: a proof makes thousands of small transfers, and creating a buffer costs more than any of them.
const CHUNK_BYTES: u64 = 256 << 10;

/// Values on their way back in one recording.
#[derive(Default)]
pub(super) struct Downloads {
    chunks: Vec<Chunk>,
}

/// Chunks that wait for the next recording.
pub(super) type FreeChunks = Mutex<Vec<Chunk>>;

pub(super) struct Chunk {
    buffer: wgpu::Buffer,
    size: u64,
    used: u64,
}

/// A promise of [`Recorder::download`](super::Recorder::download), redeemed at [`Completed::take`].
#[must_use]
#[derive(Debug)]
pub struct Ticket<T> {
    chunk: usize,
    offset: u64,
    bytes: u64,
    element: PhantomData<T>,
}

/// The results of a recording that has run.
pub struct Completed {
    gpu: Gpu,
    chunks: Vec<Chunk>,
    /// Chunks that are not mapped yet.
    pending: Arc<AtomicUsize>,
}

impl Downloads {
    /// A place for `bytes` bytes, to copy to, with the ticket for them.
    pub fn push<T>(&mut self, gpu: &Gpu, bytes: u64) -> (wgpu::Buffer, Ticket<T>) {
        if self.chunks.last().is_none_or(|c| c.used + bytes > c.size) {
            self.chunks.push(Chunk::reuse(gpu, bytes));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let ticket = Ticket { chunk: index, offset: chunk.take(bytes).start, bytes, element: PhantomData };
        (chunk.buffer.clone(), ticket)
    }

    /// Starts mapping everything and hands over to the results.
    pub fn map(&mut self, gpu: &Gpu) -> Completed {
        let chunks = std::mem::take(&mut self.chunks);
        let pending = Arc::new(AtomicUsize::new(chunks.len()));
        for chunk in &chunks {
            let pending = pending.clone();
            let done = move |_| {
                pending.fetch_sub(1, Ordering::Release);
            };
            chunk.buffer.map_async(wgpu::MapMode::Read, ..chunk.used.max(4), done);
        }
        Completed { gpu: gpu.clone(), chunks, pending }
    }

    pub fn clear(&mut self) {
        self.chunks.clear();
    }
}

impl<T> Ticket<T> {
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

impl Completed {
    pub(super) fn is_mapped(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// The values that a ticket of this recording asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] when the memory cannot be read.
    ///
    /// # Panics
    ///
    /// When the ticket is of another recording.
    pub fn take<T: Element>(&self, ticket: Ticket<T>) -> Result<Vec<T>> {
        if ticket.bytes == 0 {
            return Ok(vec![]);
        }
        let range = ticket.offset..ticket.offset + ticket.bytes;
        let view = self.chunks[ticket.chunk]
            .buffer
            .get_mapped_range(range)
            .map_err(|error| Error::Gpu { context: "download".into(), message: error.to_string() })?;
        Ok(element::from_bytes(&view))
    }
}

impl Drop for Completed {
    fn drop(&mut self) {
        let mut free = self.gpu.shared.free_downloads.lock().unwrap_or_else(|p| p.into_inner());
        for mut chunk in self.chunks.drain(..) {
            chunk.buffer.unmap();
            chunk.used = 0;
            // large ones are rare (whole matrices, in tests) and would only hold memory
            if chunk.size <= 16 * CHUNK_BYTES {
                free.push(chunk);
            }
        }
    }
}

impl Chunk {
    fn create(gpu: &Gpu, bytes: u64) -> Self {
        let size = bytes.max(CHUNK_BYTES).next_multiple_of(8);
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        Self { buffer, size, used: 0 }
    }

    fn reuse(gpu: &Gpu, bytes: u64) -> Self {
        let mut free = gpu.shared.free_downloads.lock().unwrap_or_else(|p| p.into_inner());
        match free.iter().position(|c| c.size >= bytes) {
            Some(at) => free.swap_remove(at),
            None => Self::create(gpu, bytes),
        }
    }

    /// The next `bytes` bytes; ranges start at multiples of eight, as mapping wants.
    fn take(&mut self, bytes: u64) -> std::ops::Range<u64> {
        let start = self.used;
        self.used = (start + bytes).next_multiple_of(8).min(self.size);
        start..start + bytes
    }
}
