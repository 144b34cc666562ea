//! One device per test binary: compiling a pipeline on a software driver takes up to a second, so tests share them.

use std::sync::OnceLock;

use super::{Gpu, GpuOptions};

/// The shared device under the profile that the environment names ([`LimitProfile`](super::LimitProfile)).
///
/// # Panics
///
/// When there is no adapter: tests that need a device fail without one.
pub fn gpu() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        Gpu::new(&GpuOptions::default()).expect("tests need a GPU adapter (scripts/with-gpu installs a software one)")
    })
    .clone()
}
