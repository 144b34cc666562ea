//! Device time by kernel, for profiling.
//!
//! With [`GpuOptions::kernel_times`](super::GpuOptions) every dispatch becomes a pass of its own with timestamps around it, and every
//! submission is waited for. That slows a proof down, but shows where the device's time goes.

use std::collections::BTreeMap;

use super::Gpu;

/// Dispatches of one query set; wgpu allows 4,096 queries.
const CAPACITY: u32 = 2_048;

/// Device time of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTime {
    /// Dispatches.
    pub count: u64,
    /// Milliseconds in all.
    pub ms: f64,
}

/// Device time by kernel name.
pub type KernelTimes = BTreeMap<String, KernelTime>;

/// The timestamps of one recording.
pub(super) struct Timer {
    sets: Vec<(wgpu::QuerySet, Vec<String>)>,
}

impl Timer {
    pub fn new() -> Self {
        Self { sets: vec![] }
    }

    /// The query set for the next dispatch, with its first query.
    pub fn next(&mut self, gpu: &Gpu, name: &str) -> (wgpu::QuerySet, u32) {
        if self.sets.last().is_none_or(|(_, names)| names.len() as u32 == CAPACITY) {
            let set = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
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

    /// Waits for what was submitted and adds its times to the device's.
    pub fn collect(&mut self, gpu: &Gpu) -> Result<(), String> {
        let period = f64::from(gpu.queue().get_timestamp_period());
        for (set, names) in self.sets.drain(..) {
            let stamps = read_stamps(gpu, &set, 2 * names.len() as u32)?;
            let mut times = gpu.shared.kernel_times.lock().unwrap_or_else(|p| p.into_inner());
            for (name, pair) in names.into_iter().zip(stamps.chunks_exact(2)) {
                let time = times.entry(name).or_default();
                time.count += 1;
                time.ms += pair[1].saturating_sub(pair[0]) as f64 * period * 1e-6;
            }
        }
        Ok(())
    }
}

fn read_stamps(gpu: &Gpu, set: &wgpu::QuerySet, count: u32) -> Result<Vec<u64>, String> {
    let size = u64::from(count) * 8;
    let buffer = |usage| {
        let descriptor = wgpu::BufferDescriptor { label: Some("kernel times"), size, usage, mapped_at_creation: false };
        gpu.device().create_buffer(&descriptor)
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let readable = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.resolve_query_set(set, 0..count, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &readable, 0, size);
    gpu.queue().submit([encoder.finish()]);
    readable.map_async(wgpu::MapMode::Read, .., |_| ());
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|error| error.to_string())?;
    let view = readable.get_mapped_range(..).map_err(|error| error.to_string())?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}
