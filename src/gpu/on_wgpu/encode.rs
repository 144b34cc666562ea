//! Commands to wgpu's: dispatches share one compute pass for as long as nothing else comes.

use std::sync::Arc;

use super::{
    pipelines::{Buffers, WgpuPipeline},
    timer::Timer,
};
use crate::gpu::executor::{Binding, Command, KernelId, MemoryId, Place};

/// Bytes of parameters in one uniform buffer, where there are no immediates; entries are 256 bytes apart.
const UNIFORM_BYTES: u64 = 64 << 10;
const UNIFORM_STRIDE: u64 = 256;

/// What commands refer to.
pub(super) struct Context<'a> {
    pub device: &'a wgpu::Device,
    pub stage: &'static str,
    pub buffers: &'a Buffers,
    pub pipelines: &'a [Option<Arc<WgpuPipeline>>],
    /// Whether parameters are immediates.
    pub immediates: bool,
    /// Where the commands' reads go.
    pub chunk: Option<&'a wgpu::Buffer>,
}

/// Encodes one submission.
pub(super) struct Encoder<'a> {
    context: Context<'a>,
    encoder: wgpu::CommandEncoder,
    pass: Option<wgpu::ComputePass<'static>>,
    uniforms: Uniforms,
    /// Only when kernels are timed.
    timer: Option<Timer>,
    /// The memory of a dispatch, to find its bind group by.
    memory: Vec<MemoryId>,
}

/// What is to be submitted.
pub(super) struct Encoded {
    pub commands: wgpu::CommandBuffer,
    /// Parameters, to be written before.
    pub uniforms: Vec<(wgpu::Buffer, Vec<u8>)>,
    pub timer: Option<Timer>,
}

#[derive(Default)]
struct Uniforms {
    buffers: Vec<(wgpu::Buffer, Vec<u8>)>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(context: Context<'a>, timer: Option<Timer>) -> Self {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some(context.stage) };
        let encoder = context.device.create_command_encoder(&descriptor);
        Self { context, encoder, pass: None, uniforms: Uniforms::default(), timer, memory: vec![] }
    }

    pub(super) fn push(&mut self, command: &Command) {
        match command {
            Command::Dispatch { kernel, bindings, params, grid } => self.dispatch(*kernel, bindings, params, *grid),
            Command::Clear { memory, bytes } => {
                let target = &self.context.buffers[memory];
                self.pass = None;
                self.encoder.clear_buffer(target, 0, Some(*bytes));
            }
            Command::Copy { from, to, bytes } => {
                self.copy(*from, (&self.context.buffers[&to.memory], to.offset), *bytes);
            }
            Command::Read { from, to, bytes } => {
                let chunk = self.context.chunk.expect("a chunk for what is read");
                self.copy(*from, (chunk, *to), *bytes);
            }
        }
    }

    pub(super) fn finish(mut self) -> Encoded {
        self.pass = None;
        Encoded { commands: self.encoder.finish(), uniforms: self.uniforms.buffers, timer: self.timer }
    }

    fn copy(&mut self, from: Place, (target, to): (&wgpu::Buffer, u64), bytes: u64) {
        let source = &self.context.buffers[&from.memory];
        self.pass = None;
        self.encoder.copy_buffer_to_buffer(source, from.offset, target, to, bytes);
    }

    fn dispatch(&mut self, kernel: KernelId, bindings: &[Binding], params: &[u32], [x, y, z]: [u32; 3]) {
        let Context { device, buffers, pipelines, immediates, .. } = self.context;
        let pipeline = pipelines[kernel].as_deref().expect("recordings hold the kernels that they use");
        self.memory.clear();
        self.memory.extend(bindings.iter().map(|binding| binding.memory));
        let group = if immediates || params.is_empty() {
            pipeline.bind_group(device, buffers, &self.memory)
        } else {
            let (buffer, offset) = self.uniforms.push(device, params);
            let size = std::num::NonZeroU64::new(UNIFORM_STRIDE);
            let uniform = wgpu::BufferBinding { buffer: &buffer, offset, size };
            pipeline.new_bind_group(device, buffers, &self.memory, Some(uniform))
        };
        self.open_pass(&pipeline.name);
        let pass = self.pass.as_mut().expect("just begun");
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        if immediates && !params.is_empty() {
            pass.set_immediates(0, bytemuck::cast_slice(params));
        }
        pass.dispatch_workgroups(x, y, z);
    }

    /// Makes sure that a pass is open: the one of the dispatch before, or one with timestamps of its own.
    fn open_pass(&mut self, name: &str) {
        let device = self.context.device;
        let stamps = self.timer.as_mut().map(|timer| timer.next(device, name));
        if self.pass.is_none() || stamps.is_some() {
            let timestamp_writes = stamps.as_ref().map(|(query_set, first)| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: Some(*first),
                end_of_pass_write_index: Some(first + 1),
            });
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            // one pass at a time: the last one ends before the next begins
            self.pass = None;
            self.pass = Some(self.encoder.begin_compute_pass(&descriptor).forget_lifetime());
        }
    }
}

impl Uniforms {
    /// A place for one kernel's parameters; written before the submission.
    fn push(&mut self, device: &wgpu::Device, params: &[u32]) -> (wgpu::Buffer, u64) {
        let full = |(_, bytes): &(_, Vec<u8>)| bytes.len() as u64 == UNIFORM_BYTES;
        if self.buffers.last().is_none_or(full) {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: UNIFORM_BYTES,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            self.buffers.push((buffer, vec![]));
        }
        let (buffer, bytes) = self.buffers.last_mut().expect("just pushed");
        let offset = bytes.len();
        bytes.extend_from_slice(bytemuck::cast_slice(params));
        bytes.resize(offset + UNIFORM_STRIDE as usize, 0);
        (buffer.clone(), offset as u64)
    }
}
