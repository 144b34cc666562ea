//! Compiled pipelines, in memory by (kernel, variant) and on disk where the backend supports it.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex, MutexGuard,
    },
};

use super::{
    adapter::AdapterSummary,
    machine::{Installed, KernelId, LinkedKernel},
    Access, Capabilities, Gpu, KernelDecl, RawBuffer, Variant,
};
use crate::error::{Error, Result};

/// A compiled kernel variant.
pub(super) struct Pipeline {
    pub name: String,
    pub pipeline: wgpu::ComputePipeline,
    bind_group_layout: wgpu::BindGroupLayout,
    /// By their buffers.
    groups: Mutex<HashMap<Vec<wgpu::Buffer>, wgpu::BindGroup>>,
    /// Only where a machine stands in for the device.
    pub on_machine: Option<KernelId>,
}

/// Bind groups that a pipeline keeps at most; a proof needs up to a few dozen of each.
const KEPT_GROUPS: usize = 512;

impl Pipeline {
    /// The bind group of these buffers, kept for the next proof: of the 5 us that a dispatch takes a host, making one would be 2.
    pub fn bind_group(&self, device: &wgpu::Device, buffers: &[&RawBuffer]) -> wgpu::BindGroup {
        let buffers: Vec<_> = buffers.iter().map(|buffer| buffer.buffer.clone()).collect();
        let mut groups = self.groups.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(group) = groups.get(&buffers) {
            return group.clone();
        }
        if groups.len() >= KEPT_GROUPS {
            groups.clear();
        }
        let group = self.new_bind_group(device, buffers.iter().map(wgpu::Buffer::as_entire_binding));
        groups.entry(buffers).or_insert(group).clone()
    }

    /// The same with parameters in a uniform buffer behind the buffers.
    pub fn bind_group_with(
        &self,
        device: &wgpu::Device,
        buffers: &[&RawBuffer],
        uniform: wgpu::BufferBinding<'_>,
    ) -> wgpu::BindGroup {
        let storage = buffers.iter().map(|buffer| buffer.buffer.as_entire_binding());
        self.new_bind_group(device, storage.chain([wgpu::BindingResource::Buffer(uniform)]))
    }

    fn new_bind_group<'a>(
        &self,
        device: &wgpu::Device,
        resources: impl Iterator<Item = wgpu::BindingResource<'a>>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.bind_group_layout,
            entries: &entries,
        })
    }
}

/// A kernel given as generated text rather than as a file.
#[derive(Clone, Debug)]
pub struct GeneratedKernel {
    /// Name in errors and labels; with the text it identifies the pipeline.
    pub name: String,
    /// WGSL (imports are linked) with entry point `main`, parameters (if any) as `var<immediate>`.
    pub wgsl: String,
    /// Bindings in order.
    pub bindings: Vec<Access>,
    /// Number of parameter words.
    pub params: usize,
    /// Threads per workgroup.
    pub workgroup: u32,
}

/// A compiled [`GeneratedKernel`].
#[derive(Clone)]
pub struct CompiledKernel {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) params: usize,
    pub(super) workgroup: u32,
    pub(super) bindings: usize,
}

type Key = (&'static str, Variant);

/// A kernel variant, empty until it is compiled, which happens under the lock: of several threads that want it one compiles it.
type Slot = Arc<Mutex<Option<Arc<Pipeline>>>>;

pub(super) struct PipelineCache {
    pipelines: Mutex<HashMap<Key, (&'static KernelDecl, Slot)>>,
    disk: Option<DiskCache>,
}

struct DiskCache {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    /// Something was compiled since the file was written.
    changed: AtomicBool,
}

/// What of a kernel goes into a pipeline.
struct Description<'a> {
    name: &'a str,
    wgsl: &'a str,
    overrides: &'a [(&'static str, u32)],
    bindings: Vec<Access>,
    params: usize,
    workgroup: u32,
}

impl Description<'_> {
    fn linked(&self, runtime_checks: bool) -> LinkedKernel {
        LinkedKernel {
            name: self.name.into(),
            wgsl: self.wgsl.into(),
            overrides: self.overrides.to_vec(),
            bindings: self.bindings.clone(),
            params: self.params,
            workgroup: self.workgroup,
            runtime_checks,
        }
    }
}

impl PipelineCache {
    pub fn open(device: &wgpu::Device, adapter: &AdapterSummary, capabilities: &Capabilities) -> Self {
        let disk = capabilities.pipeline_cache.then(|| DiskCache::open(device, adapter)).flatten();
        Self { pipelines: Mutex::default(), disk }
    }

    pub fn store(&self) {
        if let Some(disk) = &self.disk {
            disk.store();
        }
    }
}

impl DiskCache {
    /// The cache file of this adapter and driver; `None` where the user has no cache directory.
    fn open(device: &wgpu::Device, adapter: &AdapterSummary) -> Option<Self> {
        let path = cache_directory()?.join(format!("{}.bin", adapter.cache_key()));
        let data = std::fs::read(&path).ok();
        // SAFETY: the data was written by `store` below from `PipelineCache::get_data` of the same adapter and driver (both are in
        // the file's name); wgpu and the driver check their own headers, and `fallback` starts empty when they reject it.
        let cache = unsafe {
            device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("openvm-wgpu-backend"),
                data: data.as_deref(),
                fallback: true,
            })
        };
        Some(Self { cache, path, changed: AtomicBool::new(false) })
    }

    /// Writes the cache beside its final name first, so that a reader never sees half of it. A failure only costs time later.
    fn store(&self) {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let Some(data) = self.cache.get_data() else {
            return;
        };
        // two devices of a process may store at once, as two processes may
        static STORED: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), STORED.fetch_add(1, Ordering::Relaxed));
        let temporary = self.path.with_extension(format!("{process}-{number}.tmp"));
        let written = self
            .path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&temporary, data))
            .and_then(|()| std::fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            tracing::debug!(path = %self.path.display(), %error, "pipeline cache not stored");
        }
    }
}

/// `$XDG_CACHE_HOME`, `~/.cache`, or `%LOCALAPPDATA%`, below which the pipelines are kept.
fn cache_directory() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .or_else(|| std::env::var_os("LOCALAPPDATA").map(PathBuf::from))?;
    Some(base.join("openvm-wgpu-backend"))
}

impl Gpu {
    /// The pipeline of a kernel variant, compiled at its first use.
    pub(super) fn pipeline(&self, decl: &'static KernelDecl, variant: Variant) -> Result<Arc<Pipeline>> {
        let key = (decl.path, variant);
        let found = self.pipelines().get(&key).map(|(_, slot)| slot.clone());
        let slot =
            found.unwrap_or_else(|| self.pipelines().entry(key.clone()).or_insert((decl, Slot::default())).1.clone());
        let mut slot = slot.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(pipeline) = &*slot {
            return Ok(pipeline.clone());
        }
        Ok(slot.insert(self.compile_declared(decl, &key.1)?).clone())
    }

    fn compile_declared(&self, decl: &KernelDecl, variant: &Variant) -> Result<Arc<Pipeline>> {
        let wgsl = self
            .capabilities()
            .link(decl.source, &variant.flags, decl.bindings.len())
            .map_err(|message| Error::Gpu { context: decl.path.into(), message })?;
        self.compile(Description {
            name: decl.path,
            wgsl: &wgsl,
            overrides: &variant.overrides,
            bindings: decl.bindings.iter().map(|(_, access)| *access).collect(),
            params: decl.params.len(),
            workgroup: decl.workgroup,
        })
    }

    fn pipelines(&self) -> MutexGuard<'_, HashMap<Key, (&'static KernelDecl, Slot)>> {
        self.shared.pipelines.pipelines.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// The kernels that were compiled on this device so far, each with its variant; generated ones are not among them.
    pub fn compiled_kernels(&self) -> Vec<(&'static KernelDecl, Variant)> {
        let is_compiled = |slot: &Slot| slot.lock().unwrap_or_else(|p| p.into_inner()).is_some();
        let kernels: Vec<_> =
            self.pipelines().iter().map(|((_, variant), slot)| (slot.clone(), variant.clone())).collect();
        kernels
            .into_iter()
            .filter(|((_, slot), _)| is_compiled(slot))
            .map(|((decl, _), variant)| (decl, variant))
            .collect()
    }

    /// Compiles a generated kernel. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// What the shader compiler reports.
    pub fn compile_generated(&self, kernel: &GeneratedKernel) -> Result<CompiledKernel> {
        let wgsl = self
            .capabilities()
            .link(&kernel.wgsl, &[], kernel.bindings.len())
            .map_err(|message| Error::Gpu { context: kernel.name.clone(), message })?;
        let pipeline = self.compile(Description {
            name: &kernel.name,
            wgsl: &wgsl,
            overrides: &[],
            bindings: kernel.bindings.clone(),
            params: kernel.params,
            workgroup: kernel.workgroup,
        })?;
        Ok(CompiledKernel {
            pipeline,
            params: kernel.params,
            workgroup: kernel.workgroup,
            bindings: kernel.bindings.len(),
        })
    }

    fn compile(&self, kernel: Description<'_>) -> Result<Arc<Pipeline>> {
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.shader_module(kernel.name, kernel.wgsl);
        let bind_group_layout = self.bind_group_layout(&kernel);
        let immediates = self.capabilities().immediates;
        let layout = self.device().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&bind_group_layout)],
            immediate_size: if immediates { 4 * kernel.params as u32 } else { 0 },
        });
        let constants: Vec<_> = kernel.overrides.iter().map(|(n, v)| (*n, f64::from(*v))).collect();
        let pipeline = self.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: self.capabilities().runtime_checks,
            },
            cache: self.shared.pipelines.disk.as_ref().map(|disk| &disk.cache),
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(Error::Gpu { context: kernel.name.into(), message: error.to_string() });
        }
        if let Some(disk) = &self.shared.pipelines.disk {
            disk.changed.store(true, Ordering::Relaxed);
        }
        let compile = |machine: &Installed| machine.compile(kernel.linked(self.capabilities().runtime_checks));
        let on_machine = self.shared.machine.as_ref().map(compile).transpose()?;
        let groups = Mutex::default();
        Ok(Arc::new(Pipeline { name: kernel.name.into(), pipeline, bind_group_layout, groups, on_machine }))
    }

    fn shader_module(&self, name: &str, wgsl: &str) -> wgpu::ShaderModule {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(wgsl.into()) };
        if self.capabilities().runtime_checks {
            return self.device().create_shader_module(descriptor);
        }
        // SAFETY: all kernels are this crate's own; the launchers derive grids and offsets from checked shapes, every kernel is also
        // tested with the checks on, and no kernel has an unbounded loop.
        unsafe { self.device().create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }

    fn bind_group_layout(&self, kernel: &Description<'_>) -> wgpu::BindGroupLayout {
        let storage = kernel
            .bindings
            .iter()
            .map(|access| wgpu::BufferBindingType::Storage { read_only: *access == Access::Read });
        let uniform = !self.capabilities().immediates && kernel.params > 0;
        let types = storage.chain(uniform.then_some(wgpu::BufferBindingType::Uniform));
        let entries: Vec<_> = types
            .enumerate()
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        self.device()
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &entries })
    }
}
