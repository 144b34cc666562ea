//! Segments that fit the device.

use openvm_circuit::arch::{execution_mode::metered::segment_ctx::DEFAULT_MAX_MEMORY, SystemConfig};

use crate::gpu::Gpu;

/// Part of the budget that is left to what stays between proofs: constraint programs, the committed program, lookup tables, the pool's
/// rounding.
const RESIDENT: u64 = 16;

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

fn segment_memory(budget: u64, proofs_at_once: usize) -> usize {
    assert!(proofs_at_once > 0, "no proof at all");
    let each = (budget - budget / RESIDENT) / proofs_at_once as u64;
    usize::try_from(each).unwrap_or(usize::MAX).min(DEFAULT_MAX_MEMORY)
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
}
