//! One device per test binary: compiling a pipeline on a software driver takes up to a second, so tests share them.

use std::sync::{Arc, OnceLock};

use super::{adapter::GpuOptions, device::Gpu, machine::Machine};

/// The shared device under the profile that the environment names ([`LimitProfile`](super::LimitProfile)).
///
/// # Panics
///
/// When there is no adapter: tests that need a device fail without one.
pub fn gpu() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let options = GpuOptions { machine: machine(), ..GpuOptions::default() };
        Gpu::new(&options).expect("tests need a GPU adapter (scripts/with-gpu installs a software one)")
    })
    .clone()
}

/// Whether a machine executes unit tests in place of an adapter.
#[cfg(test)]
pub(crate) fn on_machine() -> bool {
    gpu().adapter().backend == "noop"
}

/// What executes unit tests in place of the adapter, if the environment asks for it.
#[cfg(test)]
fn machine() -> Option<Arc<dyn Machine>> {
    Some(Arc::new(crate::metal_on_cpu_machine::MetalOnCpu::from_env()?))
}

/// Integration tests that want a machine open a device with it.
#[cfg(not(test))]
fn machine() -> Option<Arc<dyn Machine>> {
    None
}

/// A folder that goes with this.
#[cfg(test)]
pub(crate) struct Folder(std::path::PathBuf);

#[cfg(test)]
impl Folder {
    /// An empty folder; `name` is the test's.
    pub fn new(name: &str) -> Self {
        static FOLDERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("openvm-wgpu-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary folders can be made");
        Self(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

#[cfg(test)]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
