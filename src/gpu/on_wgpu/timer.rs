//! Measures the device time of kernels.
//!
//! With [`GpuOptions::kernel_times`](crate::gpu::GpuOptions) every dispatch becomes a pass of its own with timestamps around it, and every
//! submission is waited for. That slows a proof down, but shows where the device's time goes.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    error::{fault, Fault},
    gpu::times::Measured,
};

/// Dispatches of one query set; wgpu allows 4,096 queries.
const CAPACITY: u32 = 2_048;

/// The timestamps of one submission.
pub(super) struct Timer {
    sets: Vec<(wgpu::QuerySet, Vec<String>)>,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self { sets: vec![] }
    }

    /// The query set for the next dispatch, with its first query.
    pub(super) fn next(&mut self, device: &wgpu::Device, name: &str) -> (wgpu::QuerySet, u32) {
        if self.sets.last().is_none_or(|(_, names)| names.len() as u32 == CAPACITY) {
            let set = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("kernel times"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * CAPACITY,
            });
            self.sets.push((set, vec![]));
        }
        let (set, names) = self.sets.last_mut().expect("just pushed");
        names.push(name.to_owned());
        (set.clone(), 2 * (names.len() as u32 - 1))
    }

    /// Waits for what was submitted and adds its times to `measured`.
    pub(super) fn collect(
        self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        measured: &Mutex<Measured>,
    ) -> Result<(), Fault> {
        let period = f64::from(queue.get_timestamp_period());
        let mut pairs = vec![];
        for (set, names) in self.sets {
            let stamps = read_stamps(device, queue, &set, 2 * names.len() as u32)?;
            pairs.extend(
                names.into_iter().zip(stamps.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()),
            );
        }
        let now = Instant::now();
        let last = pairs.iter().map(|(_, (_, end))| *end).max().unwrap_or(0);
        let host = |stamp: u64| {
            let ago = Duration::from_nanos((last.saturating_sub(stamp) as f64 * period) as u64);
            now.checked_sub(ago).unwrap_or(now)
        };
        let mut measured = measured.lock().unwrap_or_else(|p| p.into_inner());
        for (name, (begin, end)) in pairs {
            measured.add(name, host(begin), host(end));
        }
        Ok(())
    }
}

fn read_stamps(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    set: &wgpu::QuerySet,
    count: u32,
) -> Result<Vec<u64>, Fault> {
    let size = u64::from(count) * 8;
    let buffer = |usage| {
        let descriptor = wgpu::BufferDescriptor { label: Some("kernel times"), size, usage, mapped_at_creation: false };
        device.create_buffer(&descriptor)
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let readable = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.resolve_query_set(set, 0..count, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &readable, 0, size);
    queue.submit([encoder.finish()]);
    readable.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely()).map_err(fault)?;
    let view = readable.get_mapped_range(..).map_err(fault)?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}
