//! Pipelines with the bind groups that were made for them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    error::{fault, Fault},
    gpu::{
        executor::{Access, LinkedKernel, MemoryId},
        profile::Capabilities,
    },
};

/// The buffer of each memory.
pub(super) type Buffers = HashMap<MemoryId, wgpu::Buffer>;

/// A compiled kernel.
pub(super) struct WgpuPipeline {
    pub name: String,
    pub pipeline: wgpu::ComputePipeline,
    bind_group_layout: wgpu::BindGroupLayout,
    /// By the memory that they bind.
    groups: Mutex<HashMap<Vec<MemoryId>, wgpu::BindGroup>>,
}

/// Bind groups that a pipeline keeps at most; a proof needs up to a few dozen of each.
const KEPT_GROUPS: usize = 512;

impl WgpuPipeline {
    /// Compiles a kernel.
    pub(super) fn compile(
        device: &wgpu::Device,
        capabilities: &Capabilities,
        cache: Option<&wgpu::PipelineCache>,
        kernel: LinkedKernel,
    ) -> Result<Self, Fault> {
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = shader_module(device, &kernel);
        let immediates = capabilities.immediates;
        let bind_group_layout = bind_group_layout(device, &kernel, !immediates && kernel.params > 0);
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&kernel.name),
            bind_group_layouts: &[Some(&bind_group_layout)],
            immediate_size: if immediates { 4 * kernel.params as u32 } else { 0 },
        });
        let constants: Vec<_> = kernel.overrides.iter().map(|(n, v)| (*n, f64::from(*v))).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: kernel.runtime_checks,
            },
            cache,
        });
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(fault(error)),
            None => Ok(Self { name: kernel.name, pipeline, bind_group_layout, groups: Mutex::default() }),
        }
    }

    /// The bind group of this memory, kept for the next proof: of the 5 us that a dispatch takes a host, making one would be 2.
    pub(super) fn bind_group(&self, device: &wgpu::Device, buffers: &Buffers, memory: &[MemoryId]) -> wgpu::BindGroup {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(memory) {
            return group.clone();
        }
        if groups.len() >= KEPT_GROUPS {
            groups.clear();
        }
        let group = self.new_bind_group(device, buffers, memory, None);
        groups.entry(memory.to_vec()).or_insert(group).clone()
    }

    /// A bind group with parameters in a uniform buffer, if any, behind the memory.
    pub(super) fn new_bind_group(
        &self,
        device: &wgpu::Device,
        buffers: &Buffers,
        memory: &[MemoryId],
        uniform: Option<wgpu::BufferBinding<'_>>,
    ) -> wgpu::BindGroup {
        let storage = memory.iter().map(|memory| buffers[memory].as_entire_binding());
        let resources = storage.chain(uniform.map(wgpu::BindingResource::Buffer));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.bind_group_layout,
            entries: &entries,
        })
    }
}

fn shader_module(device: &wgpu::Device, kernel: &LinkedKernel) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(kernel.wgsl.as_str().into());
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&kernel.name), source };
    if kernel.runtime_checks {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: all kernels are this crate's own; the launchers derive grids and offsets from checked shapes, every kernel is also
    // tested with the checks on, and no kernel has an unbounded loop.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn bind_group_layout(device: &wgpu::Device, kernel: &LinkedKernel, uniform: bool) -> wgpu::BindGroupLayout {
    let bound = kernel.bindings.iter().map(|access| match access {
        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
        Access::Constant => wgpu::BufferBindingType::Uniform,
    });
    let types = bound.chain(uniform.then_some(wgpu::BufferBindingType::Uniform));
    let entries: Vec<_> = types
        .enumerate()
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&kernel.name), entries: &entries })
}
