//! Finding an adapter.

use std::{path::PathBuf, sync::Arc};

use wgpu::{AdapterInfo, Backend, Backends, DeviceType, Features, Limits};

use super::{
    driver::{self, DriverInfo},
    environment, host_memory,
    machine::Machine,
    noop,
    profile::{Capabilities, LimitProfile},
    required,
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
    /// Its place among the adapters that were found, as [`adapters`] lists them.
    pub index: usize,
    /// Its place on the PCI bus, as `0000:01:00.0`, where the driver tells.
    pub pci_address: Option<String>,
    /// Its identifier, which no two cards of a host share, where the driver tells.
    pub uuid: Option<String>,
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
    /// Which adapter, see [`AdapterSummary::is_named`]; else the variable `WGPU_ADAPTER_NAME`.
    pub adapter: Option<String>,
    /// Memory budget in bytes; by default what the adapter seems to have.
    pub memory_budget: Option<u64>,
    /// Measure the device time of every kernel (slow, for profiling); see [`Gpu::kernel_times`](super::Gpu::kernel_times).
    pub kernel_times: bool,
    /// Whether announced proofs keep the device warm; else the variable `OPENVM_WGPU_KEEP_WARM`, else whether this is a discrete card and no
    /// battery is discharged.
    pub keep_warm: Option<bool>,
    /// For tests: the device refuses allocations beyond so many bytes, as a full one does.
    #[doc(hidden)]
    pub device_memory: Option<u64>,
    /// For tests: the adapter seems to have so many storage buffers per stage.
    #[doc(hidden)]
    pub storage_buffers: Option<u32>,
    /// For tests: where the compiled pipelines are kept.
    #[doc(hidden)]
    pub cache_folder: Option<PathBuf>,
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
    pub(super) fn new(index: usize, info: &AdapterInfo, driver: &DriverInfo) -> Self {
        let pci_address = Some(info.device_pci_bus_id.clone()).filter(|address| !address.is_empty());
        Self {
            index,
            pci_address,
            uuid: driver.uuid.clone(),
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

    /// Whether `text` names this adapter: its number after a `#`, its PCI address (with or without the domain), its UUID (with or without
    /// the `GPU-` of NVIDIA's tools), or part of its name. Case does not matter.
    pub fn is_named(&self, text: &str) -> bool {
        let text = text.trim().to_lowercase();
        if let Some(number) = text.strip_prefix('#') {
            return number.parse() == Ok(self.index);
        }
        let pci = self.pci_address.as_ref().map(|address| address.to_lowercase());
        let on_bus = pci.is_some_and(|pci| pci == text || pci.split_once(':').is_some_and(|(_, rest)| rest == text));
        let uuid = self.uuid.as_deref().is_some_and(|uuid| uuid == text.strip_prefix("gpu-").unwrap_or(&text));
        on_bus || uuid || self.name.to_lowercase().contains(&text)
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
///
/// # Errors
///
/// [`Error::Environment`] when `WGPU_BACKEND` is not understood.
pub fn adapters() -> Result<Vec<AdapterReport>> {
    let report = |Found { adapter, summary, .. }| AdapterReport {
        capabilities: capabilities(&adapter),
        missing: missing(&adapter.get_info(), &adapter.limits()),
        summary,
    };
    Ok(find()?.into_iter().map(report).collect())
}

/// An adapter with what is known of it.
pub(super) struct Found {
    pub adapter: wgpu::Adapter,
    pub summary: AdapterSummary,
    pub driver: DriverInfo,
}

impl Found {
    fn new(index: usize, adapter: wgpu::Adapter) -> Self {
        let driver = driver::ask(&adapter);
        Self { summary: AdapterSummary::new(index, &adapter.get_info(), &driver), adapter, driver }
    }
}

fn find() -> Result<Vec<Found>> {
    let backends = environment::backends()?;
    let found = pollster::block_on(instance(backends).enumerate_adapters(backends));
    Ok(found.into_iter().enumerate().map(|(index, adapter)| Found::new(index, adapter)).collect())
}

fn instance(backends: Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // the validation flags of the default clamp buffer sizes to 32 bits
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// The best adapter that the options allow.
pub(super) fn choose(options: &GpuOptions) -> Result<Found> {
    if options.idle || options.machine.is_some() {
        return Ok(Found::new(0, noop::adapter()?));
    }
    let wanted = match &options.adapter {
        Some(wanted) => Some(wanted.clone()),
        None => environment::variable(environment::ADAPTER)?,
    };
    let mut found = find()?;
    let rank = |summary: &AdapterSummary| {
        ["discrete", "integrated", "other", "software"].iter().position(|k| *k == summary.kind)
    };
    let named = |summary: &AdapterSummary| wanted.as_ref().is_none_or(|wanted| summary.is_named(wanted));
    let summaries: Vec<_> = found.iter().map(|found| found.summary.clone()).collect();
    match summaries.iter().filter(|summary| named(summary)).min_by_key(|summary| rank(summary)) {
        Some(chosen) => Ok(found.swap_remove(chosen.index)),
        None => Err(no_adapter(wanted.as_deref(), &summaries)),
    }
}

/// Names what was searched for, and what there is.
fn no_adapter(wanted: Option<&str>, found: &[AdapterSummary]) -> Error {
    let backends = environment::backends().map(|backends| format!("{backends:?}")).unwrap_or_default();
    let mut searched = backends;
    if let Some(wanted) = wanted {
        searched += &format!(" for one called `{wanted}`");
    }
    if !found.is_empty() {
        let names: Vec<_> = found.iter().map(|summary| format!("#{} {}", summary.index, summary.name)).collect();
        searched += &format!(", which has {}", names.join(", "));
    }
    Error::NoAdapter { searched, hint: INSTALL_HINT }
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
        workgroup_threads: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        runtime_checks: false,
    }
}

/// A discrete card has what its driver says, or is trusted with its largest buffers where that says nothing (it still refuses what it does
/// not have); a device that shares the host's memory gets three quarters of what this process may have of that, within what Metal recommends.
/// Vulkan's heaps of such devices say how the memory is divided by default rather than what there is.
pub(super) fn default_budget(info: &AdapterInfo, driver: &DriverInfo) -> u64 {
    let shared = host_memory::usable().map_or(8 << 30, |bytes| bytes / 4 * 3);
    match (info.device_type, info.backend) {
        (DeviceType::DiscreteGpu, _) => driver.memory.unwrap_or(u64::MAX / 2),
        (_, Backend::Metal) => driver.memory.into_iter().fold(shared, u64::min),
        _ => shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Gpu;

    #[test]
    fn what_an_adapter_lacks_is_named() {
        let adapter = crate::gpu::testing::gpu();
        assert_eq!(
            adapters()
                .unwrap()
                .iter()
                .filter(|a| a.summary == *adapter.adapter())
                .filter(|a| a.missing.is_some())
                .count(),
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
        let few = Limits { max_storage_buffers_per_shader_stage: 7, ..enough.clone() };
        assert!(missing(&info, &few).unwrap().contains("7 storage buffers"));
        let small = Limits { max_compute_workgroup_storage_size: 16 << 10, ..enough };
        assert!(missing(&info, &small).unwrap().contains("16384 bytes of workgroup memory"));
        info.backend = Backend::Gl;
        assert!(missing(&info, &Limits::default()).unwrap().contains("OpenGL"));
    }

    /// A card as Vulkan describes it.
    fn card(index: usize, name: &str, pci: &str, uuid: &str) -> AdapterSummary {
        let mut info = AdapterInfo::new(DeviceType::DiscreteGpu, Backend::Vulkan);
        (info.name, info.device_pci_bus_id) = (name.into(), pci.into());
        AdapterSummary::new(index, &info, &DriverInfo { uuid: Some(uuid.into()), memory: None })
    }

    #[test]
    fn equal_cards_are_told_apart() {
        let cards = [
            card(0, "NVIDIA H200", "0000:01:00.0", "00112233-4455-6677-8899-aabbccddeeff"),
            card(1, "NVIDIA H200", "0000:c1:00.0", "00112233-4455-6677-8899-aabbccddee00"),
            card(2, "llvmpipe", "", "6d657361-0000-0000-0000-000000000000"),
        ];
        let named =
            |text: &str| cards.iter().filter(|card| card.is_named(text)).map(|card| card.index).collect::<Vec<_>>();
        assert_eq!(named("h200"), [0, 1]);
        assert_eq!((named("#0"), named("#1"), named("#2"), named("#3")), (vec![0], vec![1], vec![2], vec![]));
        assert_eq!((named("0000:c1:00.0"), named("01:00.0"), named("C1:00.0")), (vec![1], vec![0], vec![1]));
        assert_eq!(named("00112233-4455-6677-8899-aabbccddeeff"), [0]);
        assert_eq!(named("GPU-00112233-4455-6677-8899-AABBCCDDEE00"), [1]);
        assert!(named("#").is_empty() && named("#-1").is_empty() && named("02:00.0").is_empty());
    }

    /// The adapter that tests run on is found by each of its names, and opened by them.
    #[test]
    fn adapters_are_chosen_by_each_of_their_names() {
        let reports = adapters().unwrap();
        assert!(!reports.is_empty() && reports.iter().enumerate().all(|(i, report)| report.summary.index == i));
        for AdapterReport { summary, missing, .. } in reports {
            let names = [Some(format!("#{}", summary.index)), summary.pci_address.clone(), summary.uuid.clone()];
            for name in names.into_iter().flatten().filter(|_| missing.is_none()) {
                let options = GpuOptions { adapter: Some(name), ..GpuOptions::default() };
                assert_eq!(choose(&options).unwrap().summary, summary);
            }
        }
    }

    #[test]
    fn a_card_has_the_memory_that_its_driver_says() {
        let card = AdapterInfo::new(DeviceType::DiscreteGpu, Backend::Vulkan);
        let driver = |memory| DriverInfo { uuid: None, memory };
        assert_eq!(default_budget(&card, &driver(Some(1 << 30))), 1 << 30);
        assert!(default_budget(&card, &driver(None)) > 1 << 60);
        let most = host_memory::usable().unwrap() / 4 * 3;
        let shared = AdapterInfo::new(DeviceType::Cpu, Backend::Vulkan);
        assert_eq!((default_budget(&shared, &driver(None)), default_budget(&shared, &driver(Some(1)))), (most, most));
        let metal = AdapterInfo::new(DeviceType::IntegratedGpu, Backend::Metal);
        assert_eq!((default_budget(&metal, &driver(None)), default_budget(&metal, &driver(Some(1)))), (most, 1));
    }

    #[test]
    fn no_adapter_names_what_was_searched() {
        let options = GpuOptions { adapter: Some("no such card".into()), ..GpuOptions::default() };
        let error = Gpu::new(&options).err().expect("no adapter has this name").to_string();
        assert!(error.contains("no such card") && error.contains("mesa-vulkan-drivers"), "{error}");
    }
}
