//! The fraction tree: which levels are stored, and how the others come from the leaves.

use crate::{
    error::Result,
    gpu::Recorder,
    kernels::gkr::{raise, Fractions, GkrState, Heap, LayerTable},
};

/// The lowest level in the heap: the layers up to 8 variables are proved from it.
pub(super) const HEAP_LEVEL: usize = 9;

/// Levels above the leaves that are not stored. Three reads of the leaves instead of one and a write cost no more; and what is stored
/// is a quarter of the leaves.
const SKIPPED: usize = 2;

/// The tree's levels that are in memory.
pub(super) struct FractionTree {
    /// Until the last layer takes them.
    leaves: Option<Fractions>,
    /// The levels `HEAP_LEVEL + 1 ..` down to `SKIPPED` above the leaves, the lowest first.
    stored: Vec<Fractions>,
    pub heap: Heap,
}

impl FractionTree {
    /// Builds the stored levels and the heap's lowest one; the rest of the heap is built by the kernel that reads it.
    pub(super) fn build(rec: &mut Recorder, leaves: Fractions, state: &GkrState) -> Result<Self> {
        let mut stored: Vec<Fractions> = vec![];
        if leaves.log_len > HEAP_LEVEL + 1 + SKIPPED {
            stored.push(raise(rec, &leaves, SKIPPED + 1, state)?);
            while let Some(level) = stored.last().filter(|level| level.log_len > HEAP_LEVEL + 1) {
                let next = raise(rec, level, 1, state)?;
                stored.push(next);
            }
        }
        let top = HEAP_LEVEL.min(leaves.log_len);
        let heap = Heap::above(rec, stored.last().unwrap_or(&leaves), top, state)?;
        Ok(Self { leaves: Some(leaves), stored, heap })
    }

    /// The table of a level below the heap. Levels are taken from the root towards the leaves, each once.
    pub(super) fn take_level(&mut self, level: usize) -> LayerTable {
        if let Some(fractions) = self.stored.pop_if(|stored| stored.log_len == level) {
            return LayerTable { fractions, rise: 0, raw: true, level };
        }
        let leaves = self.leaves.take().expect("the leaves are taken last");
        let rise = leaves.log_len - level;
        if rise > 0 {
            self.leaves = Some(leaves.clone());
        }
        LayerTable { fractions: leaves, rise, raw: true, level }
    }
}
