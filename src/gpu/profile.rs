//! What a device can do, and the profiles that pretend it can do less.

use std::collections::BTreeSet;

use super::{environment, required};
use crate::error::Result;

/// A set of limits to stay within, so that any adapter can stand in for a lesser one.
///
/// Tests choose one by `OPENVM_WGPU_PROFILE` (the names are those of [`LimitProfile::NAMES`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitProfile {
    /// The adapter as it is.
    #[default]
    Native,
    /// An Apple M1 under Metal: 29 storage buffers a stage, 32 KiB of workgroup memory, 1024 threads, no pipeline cache,
    /// no timestamps inside passes.
    AppleM1,
    /// No 64-bit integers in shaders.
    NoInt64,
    /// No subgroup operations, and 256 threads a workgroup.
    NoSubgroup,
    /// No immediates, so kernel parameters travel through uniform buffers.
    NoImmediates,
    /// Segments of 4 KiB, so that small matrices span several.
    TinySegments,
    /// Bounds and loop checks in shaders, and workgroup memory zeroed.
    RuntimeChecks,
}

impl LimitProfile {
    /// Every profile with its name.
    pub const NAMES: [(&'static str, LimitProfile); 7] = [
        ("native", LimitProfile::Native),
        ("apple-m1", LimitProfile::AppleM1),
        ("no-int64", LimitProfile::NoInt64),
        ("no-subgroup", LimitProfile::NoSubgroup),
        ("no-immediates", LimitProfile::NoImmediates),
        ("tiny-segments", LimitProfile::TinySegments),
        ("runtime-checks", LimitProfile::RuntimeChecks),
    ];

    /// The environment variable that [`LimitProfile::from_env`] reads.
    pub const VARIABLE: &'static str = "OPENVM_WGPU_PROFILE";

    /// The profile named by [`LimitProfile::VARIABLE`], [`LimitProfile::Native`] when it is unset.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`](crate::Error::Environment) for an unknown name, with the list of known ones.
    pub fn from_env() -> Result<Self> {
        let Some(name) = environment::variable(Self::VARIABLE)? else { return Ok(Self::Native) };
        name.parse().map_err(|expected| environment::invalid(Self::VARIABLE, &name, expected))
    }
}

impl std::str::FromStr for LimitProfile {
    type Err = String;

    /// # Errors
    ///
    /// What is known instead.
    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::NAMES.iter().find(|(n, _)| *n == name);
        known.map(|(_, profile)| *profile).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(n, _)| *n).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

/// What kernels and stages may rely on: the adapter's abilities under the chosen [`LimitProfile`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// 64-bit integers in shaders: the fast form of the field product.
    pub int64: bool,
    /// Subgroup operations, and the smallest subgroup that may occur (0 without).
    pub min_subgroup_size: u32,
    /// Kernel parameters as immediates rather than through uniform buffers.
    pub immediates: bool,
    /// Compiled pipelines can be stored on disk.
    pub pipeline_cache: bool,
    /// Storage buffers can be mapped by the host.
    pub mappable_storage: bool,
    /// Timestamps at the borders of passes.
    pub timestamps: bool,
    /// A software driver: dispatches are as expensive as on a GPU, arithmetic is a thousand times slower.
    pub software: bool,
    /// Host and device share memory.
    pub unified_memory: bool,
    /// Largest buffer and binding, bytes.
    pub max_buffer_bytes: u64,
    /// Segments of matrices end at this size (a segment holds one column at least), bytes.
    pub max_segment_bytes: u64,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
    /// Threads of a workgroup.
    pub workgroup_threads: u32,
    /// Storage buffers a kernel may bind.
    pub storage_buffers: u32,
    /// Compile shaders with bounds checks, loop bounds and zeroed workgroup memory.
    pub runtime_checks: bool,
}

impl Capabilities {
    /// An Apple GPU under Metal, for tests.
    #[doc(hidden)]
    pub fn of_apple() -> Self {
        Self {
            int64: true,
            min_subgroup_size: 32,
            immediates: true,
            pipeline_cache: false,
            mappable_storage: true,
            timestamps: false,
            software: false,
            unified_memory: true,
            max_buffer_bytes: 4 << 30,
            max_segment_bytes: 4 << 30,
            workgroup_bytes: 32 << 10,
            workgroup_threads: 1024,
            storage_buffers: 29,
            runtime_checks: false,
        }
    }

    /// The linker flags that select the textual variants of kernels.
    #[doc(hidden)]
    pub fn flags(&self) -> BTreeSet<&'static str> {
        let mut flags = BTreeSet::new();
        if self.int64 {
            flags.insert("INT64");
        }
        if self.min_subgroup_size >= 16 {
            flags.insert("SUBGROUP16");
        }
        if self.immediates {
            flags.insert("IMMEDIATES");
        }
        flags
    }

    /// Whether the host writes storage buffers in place: the device shares its memory and lets it be mapped.
    #[doc(hidden)]
    pub fn direct_upload(&self) -> bool {
        self.unified_memory && self.mappable_storage
    }

    /// Links WGSL for this device with further flags; `bindings` counts the buffers, behind which the parameters are bound
    /// where there are no immediates.
    ///
    /// # Errors
    ///
    /// What the linker reports.
    #[doc(hidden)]
    pub fn link(&self, source: &str, flags: &[&str], bindings: usize) -> Result<String, String> {
        let mut all: BTreeSet<&str> = self.flags();
        all.extend(flags);
        let text = super::linker::link(source, &all)?;
        if self.immediates {
            return Ok(text);
        }
        Ok(text.replace("var<immediate>", &format!("@group(0) @binding({bindings}) var<uniform>")))
    }

    /// How many elements of `words` 32-bit words a segment holds, rounded down to a power of two (at least 1).
    #[doc(hidden)]
    pub fn segment_elements(&self, words: usize) -> usize {
        let fit = (self.max_segment_bytes / (4 * words as u64)).max(1) as usize;
        1 << fit.ilog2()
    }

    pub(super) fn restrict(&mut self, profile: LimitProfile) {
        match profile {
            LimitProfile::Native => {}
            LimitProfile::AppleM1 => {
                self.storage_buffers = self.storage_buffers.min(29);
                self.workgroup_bytes = self.workgroup_bytes.min(32 << 10);
                self.pipeline_cache = false;
                self.timestamps = false;
            }
            LimitProfile::NoInt64 => self.int64 = false,
            LimitProfile::NoSubgroup => {
                self.min_subgroup_size = 0;
                self.workgroup_threads = required::WORKGROUP_THREADS;
            }
            LimitProfile::NoImmediates => self.immediates = false,
            LimitProfile::TinySegments => self.max_segment_bytes = 4 << 10,
            LimitProfile::RuntimeChecks => self.runtime_checks = true,
        }
    }
}
