//! Compiled pipelines on disk, where the backend supports it.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::gpu::adapter::AdapterSummary;

/// The pipelines of one adapter and driver in the user's cache directory.
pub(super) struct DiskCache {
    pub cache: wgpu::PipelineCache,
    path: PathBuf,
    /// Something was compiled since the file was written.
    changed: AtomicBool,
}

impl DiskCache {
    /// The cache file of this adapter and driver; `None` where the user has no cache directory.
    pub(super) fn open(device: &wgpu::Device, adapter: &AdapterSummary) -> Option<Self> {
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

    /// Something was compiled that is not in the file yet.
    pub(super) fn set_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Writes the cache beside its final name first, so that a reader never sees half of it. A failure only costs time later.
    pub(super) fn store(&self) {
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
