//! Device time by kernel, for profiling.

use std::{collections::BTreeMap, time::Instant};

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

/// A kernel's execution by the device's own clock, shifted to the host's: its submission is taken to end when the host sees its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KernelRun {
    /// As in [`KernelTimes`].
    pub name: String,
    /// When it began.
    pub begin: Instant,
    /// When it ended.
    pub end: Instant,
}

/// Executions that are remembered one by one; later ones are in the sums alone.
const MAX_RUNS: usize = 1 << 20;

/// What is measured of kernels.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub times: KernelTimes,
    pub runs: Vec<KernelRun>,
}

impl Measured {
    pub(super) fn add(&mut self, name: String, begin: Instant, end: Instant) {
        let time = self.times.entry(name.clone()).or_default();
        time.count += 1;
        time.ms += end.saturating_duration_since(begin).as_secs_f64() * 1e3;
        if self.runs.len() < MAX_RUNS {
            self.runs.push(KernelRun { name, begin, end });
        }
    }
}
