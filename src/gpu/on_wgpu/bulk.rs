//! Large uploads, past the recording: threads fill memory that the device reads.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc, Mutex, MutexGuard,
};

use rayon::prelude::*;

use crate::{
    error::{fault, Fault},
    gpu::executor::Look,
};

/// Bytes that one `memcpy` fills: a staging buffer.
const PIECE_BYTES: usize = 16 << 20;

/// Staging buffers that are kept for the next upload (512 MiB of the host's memory): creating one takes as long as filling it, since its
/// memory is cleared first.
pub(super) const KEPT_PIECES: usize = 32;

/// What is looked at before it is copied: the copy finds it in the core's cache, and is still long enough for the processor's fast way to copy.
const BLOCK_BYTES: usize = 256 << 10;

/// Staging buffers that are mapped and wait for an upload.
#[derive(Clone)]
pub(super) struct Staging {
    device: wgpu::Device,
    queue: wgpu::Queue,
    kept: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

impl Staging {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self { device: device.clone(), queue: queue.clone(), kept: Arc::default() }
    }

    /// Fills `target` through staging; each piece is on its way as soon as it is filled, so that the bus works while the rest is. Measured
    /// on an H200: one `write_buffer` of 345 MB moves 3.8 GB/s, threads over mapped staging 26 GB/s.
    pub(super) fn write(&self, target: &wgpu::Buffer, bytes: &[u8], look: Look<'_>) -> Result<(), Fault> {
        let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).enumerate().collect();
        pieces.into_par_iter().try_for_each(|(index, piece)| {
            let staging = self.take()?;
            fill(&staging, 0, piece, look)?;
            staging.unmap();
            let label = wgpu::CommandEncoderDescriptor { label: Some("bulk upload") };
            let mut encoder = self.device.create_command_encoder(&label);
            let at = (index * PIECE_BYTES) as u64;
            encoder.copy_buffer_to_buffer(&staging, 0, target, at, piece.len() as u64);
            self.queue.submit([encoder.finish()]);
            self.recycle(staging);
            Ok(())
        })
    }

    /// A mapped buffer of [`PIECE_BYTES`].
    fn take(&self) -> Result<wgpu::Buffer, Fault> {
        if let Some(kept) = self.lock().pop() {
            return Ok(kept);
        }
        // what the device has read in the meantime comes back
        self.device.poll(wgpu::PollType::Poll).map_err(fault)?;
        let kept = self.lock().pop();
        Ok(kept.unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("bulk upload"),
                size: PIECE_BYTES as u64,
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::MAP_WRITE,
                mapped_at_creation: true,
            })
        }))
    }

    /// Maps the buffer again as soon as the device has read it, which a poll notices.
    fn recycle(&self, buffer: wgpu::Buffer) {
        let (staging, mapped) = (self.clone(), buffer.clone());
        buffer.map_async(wgpu::MapMode::Write, .., move |result| {
            let mut kept = staging.lock();
            if result.is_ok() && kept.len() < KEPT_PIECES {
                kept.push(mapped);
            }
        });
    }

    /// Gives what is kept back to the driver.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many staging buffers are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Fills `target` where host and device share memory: threads write into the buffer itself, which waits for earlier work on it.
pub(super) fn write_in_place(
    device: &wgpu::Device,
    target: &wgpu::Buffer,
    bytes: &[u8],
    look: Look<'_>,
) -> Result<(), Fault> {
    let size = bytes.len() as u64;
    let mapped = Arc::new(AtomicBool::new(false));
    let done = mapped.clone();
    target.map_async(wgpu::MapMode::Write, ..size, move |_| done.store(true, Ordering::Release));
    // memory that is not in use is mapped at once, whatever other threads have the device do
    device.poll(wgpu::PollType::Poll).map_err(fault)?;
    if !mapped.load(Ordering::Acquire) {
        device.poll(wgpu::PollType::wait_indefinitely()).map_err(fault)?;
    }
    let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).enumerate().collect();
    pieces.into_par_iter().try_for_each(|(index, piece)| fill(target, index * PIECE_BYTES, piece, look))?;
    target.unmap();
    Ok(())
}

fn fill(buffer: &wgpu::Buffer, at: usize, bytes: &[u8], look: Look<'_>) -> Result<(), Fault> {
    let (start, end) = (at as u64, (at + bytes.len()) as u64);
    let mut view = buffer.get_mapped_range_mut(start..end).map_err(fault)?;
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        look(block);
        let at = index * BLOCK_BYTES;
        view.slice(at..at + block.len()).copy_from_slice(block);
    }
    Ok(())
}
