//! Large uploads, past the recording: threads fill memory that the device reads.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc, Mutex, MutexGuard,
};

use rayon::prelude::*;

use super::Gpu;
use crate::error::{Error, Result};

/// Bytes that one `memcpy` fills: a staging buffer.
const PIECE_BYTES: usize = 16 << 20;

/// Staging buffers that are kept for the next upload (512 MiB of the host's memory): creating one takes as long as filling it, since its
/// memory is cleared first.
const KEPT_PIECES: usize = 32;

/// Staging buffers that are mapped and wait for an upload.
#[derive(Clone, Default)]
pub(super) struct Staging(Arc<Mutex<Vec<wgpu::Buffer>>>);

impl Staging {
    /// A mapped buffer of [`PIECE_BYTES`].
    fn take(&self, device: &wgpu::Device) -> Result<wgpu::Buffer, String> {
        if let Some(kept) = self.lock().pop() {
            return Ok(kept);
        }
        // what the device has read in the meantime comes back
        device.poll(wgpu::PollType::Poll).map_err(|error| error.to_string())?;
        let kept = self.lock().pop();
        Ok(kept.unwrap_or_else(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
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

    fn lock(&self) -> MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Fills `target`: where host and device share memory, threads write into the buffer itself; else into mapped staging. Measured on an H200: one
/// `write_buffer` of 345 MB moves 3.8 GB/s, threads over mapped staging 26 GB/s.
pub(super) fn upload(gpu: &Gpu, target: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
    let faults = gpu.shared.faults.count();
    let uploaded = if gpu.capabilities().direct_upload() {
        write_in_place(gpu, target, bytes)
    } else {
        write_through_staging(gpu, target, bytes)
    };
    uploaded.map_err(|message| Error::Gpu { context: "upload".into(), message })?;
    gpu.shared.faults.check("upload", faults)
}

/// Maps the buffer, which waits for earlier work on its memory, and fills it.
fn write_in_place(gpu: &Gpu, target: &wgpu::Buffer, bytes: &[u8]) -> Result<(), String> {
    let size = bytes.len() as u64;
    let mapped = Arc::new(AtomicBool::new(false));
    let done = mapped.clone();
    target.map_async(wgpu::MapMode::Write, ..size, move |_| done.store(true, Ordering::Release));
    // memory that is not in use is mapped at once, whatever other threads have the device do
    gpu.device().poll(wgpu::PollType::Poll).map_err(|error| error.to_string())?;
    if !mapped.load(Ordering::Acquire) {
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|error| error.to_string())?;
    }
    let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).enumerate().collect();
    pieces.into_par_iter().try_for_each(|(index, piece)| fill(target, index * PIECE_BYTES, piece))?;
    target.unmap();
    Ok(())
}

/// Each piece is on its way as soon as it is filled, so that the bus works while the rest is.
fn write_through_staging(gpu: &Gpu, target: &wgpu::Buffer, bytes: &[u8]) -> Result<(), String> {
    let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).enumerate().collect();
    pieces.into_par_iter().try_for_each(|(index, piece)| {
        let staging = gpu.shared.staging.take(gpu.device())?;
        fill(&staging, 0, piece)?;
        staging.unmap();
        let label = wgpu::CommandEncoderDescriptor { label: Some("bulk upload") };
        let mut encoder = gpu.device().create_command_encoder(&label);
        let at = (index * PIECE_BYTES) as u64;
        encoder.copy_buffer_to_buffer(&staging, 0, target, at, piece.len() as u64);
        gpu.queue().submit([encoder.finish()]);
        gpu.shared.staging.recycle(staging);
        Ok(())
    })
}

fn fill(buffer: &wgpu::Buffer, at: usize, bytes: &[u8]) -> Result<(), String> {
    let (start, end) = (at as u64, (at + bytes.len()) as u64);
    let mut view = buffer.get_mapped_range_mut(start..end).map_err(|error| error.to_string())?;
    view.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    type Write = fn(&Gpu, &wgpu::Buffer, &[u8]) -> Result<(), String>;

    #[test]
    fn what_is_uploaded_arrives() {
        let gpu = testing::gpu();
        if testing::on_machine() {
            // a machine's memory is not written here
            return;
        }
        let mut ways: Vec<Write> = vec![write_through_staging];
        if gpu.capabilities().direct_upload() {
            ways.push(write_in_place);
        }
        // several pieces, and staging that was used before
        for (factor, len) in [(1, 1 << 18), (2, 9 << 20), (3, (4 << 20) + 5)] {
            let values: Vec<u32> = (0..len).map(|i| i * factor).collect();
            for write in &ways {
                let buffer = gpu.alloc::<u32>(len as usize, "test").unwrap();
                write(&gpu, &buffer.raw().buffer, bytemuck::cast_slice(&values)).unwrap();
                assert!(gpu.download(&buffer).unwrap() == values);
            }
        }
        let kept = || gpu.shared.staging.lock().len();
        assert!((1..=KEPT_PIECES).contains(&kept()));
        gpu.shared.staging.clear();
        assert_eq!(kept(), 0);
    }
}
