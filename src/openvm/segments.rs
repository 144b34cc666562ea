//! Segments that fit the device.

use openvm_circuit::arch::{execution_mode::metered::segment_ctx::DEFAULT_MAX_MEMORY, SystemConfig};

use crate::gpu::{available_host_memory, Gpu};

/// Part of the budget that is left to what stays between proofs: constraint programs, the committed program, lookup tables, the pool's
/// rounding.
const RESIDENT: u64 = 16;

/// What a GPU's budget leaves to proofs, bytes.
pub(super) fn room(gpu: &Gpu) -> u64 {
    left_to_proofs(gpu.memory_budget())
}

fn left_to_proofs(budget: u64) -> u64 {
    budget - budget / RESIDENT
}

/// Sets the memory that execution may give a segment so that `proofs_at_once` proofs fit the memory budget together.
///
/// Upstream estimates a segment's memory with the engine's `proving_memory_config`; at most its default of 15 GiB, beyond which longer segments
/// gain nothing.
///
/// # Panics
///
/// If `proofs_at_once` is 0.
pub fn fit_segments(config: &mut impl AsMut<SystemConfig>, gpu: &Gpu, proofs_at_once: usize) {
    config.as_mut().set_segmentation_max_memory(segment_memory(gpu.memory_budget(), proofs_at_once));
}

/// The memory that a segment may take, by upstream's estimate, so that `proofs_at_once` proofs fit a budget of `budget` bytes together.
///
/// # Panics
///
/// If `proofs_at_once` is 0.
pub fn segment_memory(budget: u64, proofs_at_once: usize) -> usize {
    assert!(proofs_at_once > 0, "no proof at all");
    let each = left_to_proofs(budget) / proofs_at_once as u64;
    usize::try_from(each).unwrap_or(usize::MAX).min(DEFAULT_MAX_MEMORY)
}

/// Memory of a segment by upstream's estimate where several can be prepared side by side: the device needs hardly more for eight of these
/// than for two of 15 GiB, and begins sooner.
const SEGMENT_MEMORY: usize = 4 << 30;

/// Threads from which on it pays to prepare several segments at once.
const MANY_THREADS: usize = 4;

/// How many threads prepare a device's segments, and how many it proves at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threads {
    pub lanes: usize,
    pub workers: usize,
}

/// How many segments are prepared and proved at once, and how large they are, where nobody has said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub proofs: Option<usize>,
    pub traces: Option<usize>,
    pub segment_memory: Option<usize>,
}

impl Options {
    /// Memory of a segment; `most` is the configuration's limit.
    pub(super) fn segment_memory(&self, most: usize, threads: usize) -> usize {
        let chosen = if threads < MANY_THREADS { most } else { most.min(SEGMENT_MEMORY) };
        self.segment_memory.unwrap_or(chosen)
    }

    /// Whether segments begin while the execution is still metered: where that takes no threads from others.
    pub(super) fn is_ahead(&self, threads: usize) -> bool {
        self.traces.map_or(threads >= MANY_THREADS, |traces| traces > 1)
    }

    /// Threads for `segments` segments, of which each takes up to `bytes` of the `memory` that the host has left.
    pub(super) fn threads(&self, segments: usize, bytes: u64, memory: Option<u64>, threads: usize) -> Threads {
        let held = memory.map_or(usize::MAX, |memory| (memory / 2 / bytes.max(1)) as usize);
        let lanes = self.traces.unwrap_or_else(|| if threads < MANY_THREADS { 1 } else { (threads / 2).min(held) });
        let lanes = lanes.min(segments).max(1);
        // the second fills the gaps of the first
        let workers = self.proofs.unwrap_or(if lanes > 1 { 2 } else { 1 });
        Threads { lanes, workers }
    }
}

/// Memory that the host has left, where it is easy to know.
pub(super) fn available_memory(gpu: &Gpu) -> Option<u64> {
    // a budget by default is three quarters of what is shared, or nearly nothing is known
    available_host_memory().or_else(|| Some(gpu.memory_budget()).filter(|budget| *budget < 1 << 40))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_become_segments() {
        assert_eq!(segment_memory(8 << 30, 1), (8 << 30) / 16 * 15);
        assert_eq!(segment_memory(24 << 30, 2), (12 << 30) / 16 * 15);
        assert_eq!(segment_memory(24 << 30, 1), 15 << 30);
        assert_eq!(segment_memory(u64::MAX, 1), 15 << 30);
    }

    #[test]
    fn few_threads_prepare_one_segment_at_a_time() {
        let options = Options::default();
        assert_eq!(options.segment_memory(15 << 30, 2), 15 << 30);
        assert_eq!(options.threads(8, 1 << 30, None, 2), Threads { lanes: 1, workers: 1 });
    }

    #[test]
    fn many_threads_prepare_what_the_host_holds() {
        let options = Options::default();
        assert_eq!(options.segment_memory(15 << 30, 16), 4 << 30);
        assert_eq!(options.segment_memory(1 << 30, 16), 1 << 30);
        assert_eq!(options.threads(20, 1 << 30, None, 16), Threads { lanes: 8, workers: 2 });
        assert_eq!(options.threads(3, 1 << 30, None, 16), Threads { lanes: 3, workers: 2 });
        assert_eq!(options.threads(20, 1 << 30, Some(6 << 30), 16), Threads { lanes: 3, workers: 2 });
        assert_eq!(options.threads(1, 9 << 30, Some(1 << 30), 16), Threads { lanes: 1, workers: 1 });
    }

    #[test]
    fn options_are_kept() {
        let options = Options { proofs: Some(3), traces: Some(5), segment_memory: Some(7 << 30) };
        assert_eq!(options.segment_memory(15 << 30, 16), 7 << 30);
        for threads in [1, 16] {
            assert_eq!(options.threads(9, 1 << 30, Some(1), threads), Threads { lanes: 5, workers: 3 });
        }
    }
}
