//! Finding an adapter.

use std::sync::Arc;

use wgpu::{AdapterInfo, Backend, Backends, DeviceType, Features, Limits};

use super::{
    machine::Machine,
    noop,
    profile::{Capabilities, LimitProfile},
};
use crate::error::{Error, Result};

const INSTALL_HINT: &str = "install a Vulkan driver (on Linux without a GPU: Mesa's software driver, package \
     mesa-vulkan-drivers or mesa-vulkan-swrast), or set WGPU_BACKEND / WGPU_ADAPTER_NAME to what is there";

/// An adapter's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterSummary {
    /// Name as the driver reports it.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// `discrete`, `integrated`, `software` or `other`.
    pub kind: &'static str,
    vendor: u32,
    device: u32,
}

/// An adapter and whether the prover runs on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterReport {
    /// The adapter.
    pub summary: AdapterSummary,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What it lacks, `None` if the prover runs on it.
    pub missing: Option<String>,
}

/// What to look for and how to open it.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, case-insensitive; else the variable `WGPU_ADAPTER_NAME`.
    pub adapter: Option<String>,
    /// Memory budget in bytes; by default what the adapter seems to have.
    pub memory_budget: Option<u64>,
    /// Measure the device time of every kernel (slow, for profiling); see [`Gpu::kernel_times`].
    pub kernel_times: bool,
    /// For tests: the device refuses allocations beyond so many bytes, as a full one does.
    #[doc(hidden)]
    pub device_memory: Option<u64>,
    /// For tests: the adapter seems to have so many storage buffers per stage.
    #[doc(hidden)]
    pub storage_buffers: Option<u32>,
    /// For benches: a device that executes nothing, so that the host's time is all there is.
    #[doc(hidden)]
    pub idle: bool,
    /// For tests: what executes all work in place of an adapter.
    #[doc(hidden)]
    pub machine: Option<Arc<dyn Machine>>,
    /// Limits to stay within; else the variable [`LimitProfile::VARIABLE`].
    pub profile: Option<LimitProfile>,
}

impl AdapterSummary {
    pub(super) fn new(info: &AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_str().into(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
            kind: match info.device_type {
                DeviceType::DiscreteGpu => "discrete",
                DeviceType::IntegratedGpu => "integrated",
                DeviceType::Cpu => "software",
                _ => "other",
            },
            vendor: info.vendor,
            device: info.device,
        }
    }

    /// A file name that changes with adapter, driver and version of this crate.
    pub(super) fn cache_key(&self) -> String {
        let text = format!(
            "{}-{:x}-{:x}-{}-{}",
            self.backend,
            self.vendor,
            self.device,
            self.driver,
            env!("CARGO_PKG_VERSION")
        );
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }
}

impl std::fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {}, {})", self.name, self.backend, self.kind, self.driver)
    }
}

/// Every adapter that wgpu finds on the enabled backends.
pub fn adapters() -> Vec<AdapterReport> {
    let instance = instance();
    let found = pollster::block_on(instance.enumerate_adapters(backends()));
    found
        .iter()
        .map(|adapter| AdapterReport {
            summary: AdapterSummary::new(&adapter.get_info()),
            capabilities: capabilities(adapter),
            missing: missing(&adapter.get_info(), &adapter.limits()),
        })
        .collect()
}

fn backends() -> Backends {
    Backends::from_env().unwrap_or(Backends::VULKAN | Backends::METAL | Backends::DX12)
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends();
    // the validation flags of the default clamp buffer sizes to 32 bits
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// The best adapter that the options allow.
pub(super) fn choose(options: &GpuOptions) -> Result<wgpu::Adapter> {
    if options.idle || options.machine.is_some() {
        return noop::adapter();
    }
    let wanted = options.adapter.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok());
    let matches = |adapter: &wgpu::Adapter| {
        let name = adapter.get_info().name.to_lowercase();
        wanted.as_ref().is_none_or(|w| name.contains(&w.to_lowercase()))
    };
    let found = pollster::block_on(instance().enumerate_adapters(backends()));
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Cpu => 3,
        DeviceType::Other => 4,
    };
    found.into_iter().filter(matches).min_by_key(rank).ok_or_else(|| Error::NoAdapter {
        searched: match &wanted {
            Some(name) => format!("{:?} for a name with `{name}`", backends()),
            None => format!("{:?}", backends()),
        },
        hint: INSTALL_HINT,
    })
}

/// What an adapter must have: each kernel stays within (`tests/translation.rs` checks them all).
pub mod required {
    /// Storage buffers that a kernel binds.
    pub const STORAGE_BUFFERS: u32 = 12;
    /// Bytes of workgroup memory.
    pub const WORKGROUP_BYTES: u32 = 32 << 10;
    /// Threads of a workgroup.
    pub const WORKGROUP_THREADS: u32 = 512;
    /// Bytes of a storage binding; larger matrices are segmented.
    pub const BINDING_BYTES: u64 = 128 << 20;
}

/// What an adapter lacks that the prover cannot do without.
pub(super) fn missing(info: &AdapterInfo, limits: &Limits) -> Option<String> {
    let needs = [
        ("storage buffers per stage", limits.max_storage_buffers_per_shader_stage, required::STORAGE_BUFFERS),
        ("bytes of workgroup memory", limits.max_compute_workgroup_storage_size, required::WORKGROUP_BYTES),
        ("threads per workgroup", limits.max_compute_invocations_per_workgroup, required::WORKGROUP_THREADS),
    ];
    let binding = ("bytes in a storage binding", limits.max_storage_buffer_binding_size, required::BINDING_BYTES);
    let mut needs =
        needs.map(|(what, has, needed)| (what, u64::from(has), u64::from(needed))).into_iter().chain([binding]);
    if info.backend == Backend::Gl {
        return Some("OpenGL has no usable compute limits".into());
    }
    let (what, has, needed) = needs.find(|(_, has, needed)| has < needed)?;
    Some(format!("{has} {what}, at least {needed} are needed"))
}

/// What an adapter can do.
pub(super) fn capabilities(adapter: &wgpu::Adapter) -> Capabilities {
    let (features, limits, info) = (adapter.features(), adapter.limits(), adapter.get_info());
    let max_buffer_bytes = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
    Capabilities {
        int64: features.contains(Features::SHADER_INT64),
        min_subgroup_size: if features.contains(Features::SUBGROUP) { info.subgroup_min_size } else { 0 },
        immediates: features.contains(Features::IMMEDIATES) && limits.max_immediate_size >= 128,
        pipeline_cache: features.contains(Features::PIPELINE_CACHE),
        mappable_storage: features.contains(Features::MAPPABLE_PRIMARY_BUFFERS),
        timestamps: features.contains(Features::TIMESTAMP_QUERY),
        // what wgpu's noop backend says it is, too, but that stands for a GPU (`machine`)
        software: info.device_type == DeviceType::Cpu && info.backend != Backend::Noop,
        unified_memory: info.backend == Backend::Metal
            || matches!(info.device_type, DeviceType::IntegratedGpu | DeviceType::Cpu),
        max_buffer_bytes,
        max_segment_bytes: max_buffer_bytes,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        runtime_checks: false,
    }
}

/// wgpu does not tell how much memory there is. A discrete card is trusted with its largest buffers (the driver still refuses what it
/// does not have); a device that shares the host's memory gets three quarters of that.
pub(super) fn default_budget(info: &AdapterInfo) -> u64 {
    match info.device_type {
        DeviceType::DiscreteGpu => u64::MAX / 2,
        _ => host_memory().map_or(8 << 30, |bytes| bytes / 4 * 3),
    }
}

/// Physical memory of the host in bytes, where it is easy to know.
fn host_memory() -> Option<u64> {
    if cfg!(target_os = "macos") {
        let output = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        return String::from_utf8(output.stdout).ok()?.trim().parse().ok();
    }
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|l| l.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Gpu;

    #[test]
    fn what_an_adapter_lacks_is_named() {
        let adapter = crate::gpu::testing::gpu();
        assert_eq!(
            adapters().iter().filter(|a| a.summary == *adapter.adapter()).filter(|a| a.missing.is_some()).count(),
            0
        );
        let mut info = AdapterInfo::new(DeviceType::IntegratedGpu, Backend::Vulkan);
        let enough = Limits {
            max_storage_buffers_per_shader_stage: 29,
            max_compute_workgroup_storage_size: 32 << 10,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            ..Limits::default()
        };
        assert_eq!(missing(&info, &enough), None);
        let few = Limits { max_storage_buffers_per_shader_stage: 8, ..enough.clone() };
        assert!(missing(&info, &few).unwrap().contains("8 storage buffers"));
        let small = Limits { max_compute_workgroup_storage_size: 16 << 10, ..enough };
        assert!(missing(&info, &small).unwrap().contains("16384 bytes of workgroup memory"));
        info.backend = Backend::Gl;
        assert!(missing(&info, &Limits::default()).unwrap().contains("OpenGL"));
    }

    #[test]
    fn no_adapter_names_what_was_searched() {
        let options = GpuOptions { adapter: Some("no such card".into()), ..GpuOptions::default() };
        let error = Gpu::new(&options).err().expect("no adapter has this name").to_string();
        assert!(error.contains("no such card") && error.contains("mesa-vulkan-drivers"), "{error}");
    }
}
