//! Kernels of the fractional sumcheck (`wgsl/gkr/*`): the fraction tree, eq tables, the pass over a layer's table, and the rounds.

mod eq;
mod rounds;
mod tree;
mod window;

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

pub(crate) use eq::EqTables;
pub(crate) use rounds::{Rounds, Sponge};
pub(crate) use tree::{raise, Heap};
pub(crate) use window::{PartialSums, SumPass, Table};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu},
};

/// Fractions of the source that one dispatch reads at most: 1 GiB, about 20 ms on the slowest device in mind (Apple M1).
const MAX_FRACTIONS_PER_DISPATCH: usize = 1 << 25;

/// `2^log_len` fractions on the device, numerators and denominators apart, both in pieces of equal power-of-two length.
///
/// Fraction `i` is element `i % piece_len` of piece `i / piece_len`.
#[derive(Clone)]
pub struct Fractions {
    /// log2 of the number of fractions.
    pub log_len: usize,
    /// Numerators.
    pub numer: Vec<DeviceBuffer<EF>>,
    /// Denominators.
    pub denom: Vec<DeviceBuffer<EF>>,
}

impl Fractions {
    /// Room for `2^log_len` fractions, in pieces of at most a segment; contents undefined.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu, log_len: usize) -> Result<Self> {
        let piece_len = gpu.capabilities().segment_elements(4).min(1 << log_len);
        Self::in_pieces(gpu, log_len, piece_len)
    }

    fn in_pieces(gpu: &Gpu, log_len: usize, piece_len: usize) -> Result<Self> {
        let pieces = 0..(1usize << log_len) / piece_len;
        let numer = pieces.clone().map(|_| gpu.alloc(piece_len, "numerators")).collect::<Result<_>>()?;
        let denom = pieces.map(|_| gpu.alloc(piece_len, "denominators")).collect::<Result<_>>()?;
        Ok(Self { log_len, numer, denom })
    }

    /// Number of fractions.
    pub fn len(&self) -> usize {
        1 << self.log_len
    }

    /// Never: there is at least one fraction.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Fractions in each piece.
    pub fn piece_len(&self) -> usize {
        self.len() / self.numer.len()
    }
}

/// Challenges of the stage on the device: lambda, the eq prefix, the last window's (r_0, r_1), then two points of
/// [`GkrState::MAX_VARS`] coordinates, of which layer `j` reads the one at `point(j)` and writes the other.
#[derive(Clone)]
pub(crate) struct GkrState {
    buffer: DeviceBuffer<EF>,
}

impl GkrState {
    /// Layers that fit.
    pub const MAX_VARS: usize = 32;

    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu) -> Result<Self> {
        Ok(Self { buffer: gpu.alloc(4 + 2 * Self::MAX_VARS, "GKR challenges")? })
    }

    /// Where the point of layer `layer` begins.
    pub fn point(layer: usize) -> usize {
        4 + Self::MAX_VARS * (layer % 2)
    }
}

#[cfg(test)]
mod tests;
