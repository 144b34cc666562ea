//! Opening a device: an adapter is chosen, and what executes recordings on it.

use std::sync::Arc;

use wgpu::{Features, Limits};

use super::{
    adapter::{self, AdapterSummary, Found, GpuOptions},
    device::{Gpu, Parts},
    executor::Executor,
    faults::Faults,
    memory,
    on_machine::OnMachine,
    on_wgpu::{DiskCache, OnWgpu},
    profile::{Capabilities, LimitProfile},
    warm::Warm,
};
use crate::error::{fault, Error, Result};

impl Gpu {
    /// Opens the best adapter that matches: discrete before integrated before software.
    ///
    /// # Errors
    ///
    /// [`Error::NoAdapter`], [`Error::UnsupportedAdapter`], [`Error::Environment`], [`Error::Gpu`] when the driver refuses.
    #[doc(hidden)]
    pub fn new(options: &GpuOptions) -> Result<Self> {
        Ok(Self::of(parts(options)?))
    }
}

/// What a device is made of, opened.
pub(super) fn parts(options: &GpuOptions) -> Result<Parts> {
    let faults = Arc::default();
    let OpenDevice { executor, adapter, capabilities, budget } = on_wgpu(options, &faults)?;
    let device: Arc<dyn Executor> = Arc::new(executor);
    let executor: Arc<dyn Executor> = match &options.machine {
        Some(machine) => Arc::new(OnMachine::new(machine.clone(), device)),
        None => device,
    };
    let (buffer, device) = (capabilities.max_buffer_bytes, options.device_memory);
    let limits = memory::Limits { budget, buffer, device, first: 0 };
    let warm = Warm::new(options.keep_warm, adapter.kind)?;
    Ok(Parts { executor, adapter, capabilities, faults, limits, warm })
}

/// A device of wgpu and what is known of it.
pub(super) struct OpenDevice {
    pub executor: OnWgpu,
    pub adapter: AdapterSummary,
    pub capabilities: Capabilities,
    /// Memory that may be in use, bytes.
    pub budget: u64,
}

/// Opens an adapter under the limits of the options' profile.
pub(super) fn on_wgpu(options: &GpuOptions, faults: &Arc<Faults>) -> Result<OpenDevice> {
    let Found { adapter, summary, driver } = adapter::choose(options)?;
    let info = adapter.get_info();
    let mut available = adapter.limits();
    if let Some(storage_buffers) = options.storage_buffers {
        available.max_storage_buffers_per_shader_stage = storage_buffers;
    }
    if let Some(missing) = adapter::missing(&info, &available) {
        return Err(Error::UnsupportedAdapter { adapter: info.name, missing });
    }
    let mut capabilities = adapter::capabilities(&adapter);
    capabilities.restrict(options.profile.map_or_else(LimitProfile::from_env, Ok)?);
    let opened = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("openvm-wgpu-backend"),
        required_features: features(&adapter, &capabilities),
        required_limits: limits(&adapter, &capabilities),
        experimental_features: wgpu::ExperimentalFeatures::disabled(),
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    }))
    .map_err(|error| Error::gpu(&format!("opening {}", info.name), fault(error)))?;
    let budget = options.memory_budget.unwrap_or_else(|| adapter::default_budget(&info, &driver));
    // elsewhere the host's memory is what there is, or the driver tells nothing that changes
    let watched = (info.device_type == wgpu::DeviceType::DiscreteGpu).then_some(adapter);
    let adapter = summary;
    tracing::debug!(%adapter, budget, ?capabilities, "device opened");
    let disk = capabilities
        .pipeline_cache
        .then(|| DiskCache::open(&opened.0, &adapter, options.cache_folder.as_deref()))
        .flatten();
    let time_kernels = options.kernel_times && capabilities.timestamps;
    let executor = OnWgpu::new(opened, watched, disk, &capabilities, faults, time_kernels);
    Ok(OpenDevice { executor, adapter, capabilities, budget })
}

/// Features that are used where they are there.
const WANTED: Features = Features::SHADER_INT64
    .union(Features::SUBGROUP)
    .union(Features::IMMEDIATES)
    .union(Features::TIMESTAMP_QUERY)
    .union(Features::PIPELINE_CACHE)
    .union(Features::MAPPABLE_PRIMARY_BUFFERS);

/// The features that the capabilities ask for, so that wgpu itself rejects a kernel that uses what a profile forbids.
fn features(adapter: &wgpu::Adapter, capabilities: &Capabilities) -> Features {
    let mut features = adapter.features() & WANTED;
    features.set(Features::SHADER_INT64, capabilities.int64);
    features.set(Features::SUBGROUP, capabilities.min_subgroup_size > 0);
    features.set(Features::IMMEDIATES, capabilities.immediates);
    features.set(Features::PIPELINE_CACHE, capabilities.pipeline_cache);
    features.set(Features::TIMESTAMP_QUERY, capabilities.timestamps);
    features
}

/// The adapter's own limits, lowered to the capabilities.
fn limits(adapter: &wgpu::Adapter, capabilities: &Capabilities) -> Limits {
    let limits = adapter.limits();
    Limits {
        max_storage_buffers_per_shader_stage: capabilities.storage_buffers,
        max_compute_workgroup_storage_size: capabilities.workgroup_bytes,
        max_compute_invocations_per_workgroup: capabilities.workgroup_threads,
        max_immediate_size: if capabilities.immediates { limits.max_immediate_size } else { 0 },
        ..limits
    }
}
