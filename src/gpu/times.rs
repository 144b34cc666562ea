//! Device time by kernel, for profiling.

use std::collections::BTreeMap;

/// Device time of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KernelTime {
    /// Dispatches.
    pub count: u64,
    /// Milliseconds in all.
    pub ms: f64,
}

/// Device time by kernel name: the path of its file below `wgsl/`, or the name of a generated kernel.
pub type KernelTimes = BTreeMap<String, KernelTime>;
