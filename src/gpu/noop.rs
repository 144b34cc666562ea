//! wgpu's `noop` backend (a feature of wgpu that tests and benches enable): it validates kernels and layouts as Metal's would be, and
//! executes nothing.

use crate::error::{Error, Result};

/// `maxBufferLength` of an M1 with 8 GiB is about this; the memory is the host's.
const MAX_BUFFER_BYTES: u64 = 4 << 30;

/// An adapter that executes nothing and looks like an Apple GPU under Metal, as wgpu-hal describes those.
pub(super) fn adapter() -> Result<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        features: Some(wgpu::Features::SHADER_INT64 | wgpu::Features::SUBGROUP | wgpu::Features::IMMEDIATES),
        limits: Some(wgpu::Limits {
            max_storage_buffers_per_shader_stage: 29,
            max_compute_workgroup_storage_size: 32 << 10,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroups_per_dimension: 65_535,
            max_immediate_size: 4096,
            max_buffer_size: MAX_BUFFER_BYTES,
            max_storage_buffer_binding_size: MAX_BUFFER_BYTES,
            ..wgpu::Limits::unlimited()
        }),
        subgroup_min_size: Some(32),
        subgroup_max_size: Some(32),
        ..wgpu::NoopBackendOptions::enabled()
    };
    let found = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::NOOP));
    found.into_iter().next().ok_or_else(|| Error::NoAdapter {
        searched: "wgpu's noop backend".into(),
        hint: "a machine in place of the device needs wgpu's feature `noop`",
    })
}
