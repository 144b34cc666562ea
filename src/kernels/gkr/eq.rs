//! eq tables of a layer's point (`wgsl/eq/heaps.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::GkrState;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Recorder},
    kernels::eq::{Ends, EqHeaps},
};

/// eq(xi_{first ..}, .) for every `first`, as products of two small tables.
pub(crate) struct EqTables {
    pub buffer: DeviceBuffer<EF>,
    low_vars: usize,
    high_vars: usize,
}

/// eq(xi.., y) = table[low_at + y % 2^low_vars] * table[high_at + y / 2^low_vars].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EqSuffix {
    pub low_vars: usize,
    pub low_at: usize,
    pub high_at: usize,
}

impl EqTables {
    /// The tables of the point of layer `layer`, which has as many variables.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    pub(crate) fn build(rec: &mut Recorder, state: &GkrState, layer: usize) -> Result<Self> {
        let low_vars = layer / 2;
        let high_vars = layer - low_vars;
        let (coordinates, first) = (&state.buffer, GkrState::point(layer));
        let buffer = EqHeaps { coordinates, first, low_vars, high_vars, of: Ends::Suffixes }.record(rec)?;
        Ok(Self { buffer, low_vars, high_vars })
    }

    /// The tables of the variables from `first` on.
    pub(crate) fn suffix(&self, first: usize) -> EqSuffix {
        let low_vars = self.low_vars.saturating_sub(first);
        let high_vars = self.high_vars.min(self.low_vars + self.high_vars - first);
        EqSuffix { low_vars, low_at: 1 << low_vars, high_at: (2 << self.low_vars) + (1 << high_vars) }
    }
}
