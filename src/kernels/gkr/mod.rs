//! Kernels of the fractional sumcheck (`wgsl/gkr/*`): the fraction tree, eq tables, the pass over a layer's table, and the rounds.

mod eq;
mod rounds;
mod tree;
mod window;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

pub(crate) use eq::EqTables;
pub(crate) use rounds::Rounds;
pub use rounds::RoundsKernel;
pub(crate) use tree::{raise, Heap};
pub(crate) use window::{LayerTable, PartialSums, SumPass};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Element, Gpu, Grid, Recorder},
    kernel,
    kernels::transcript::Challenge,
};

/// Fractions of the source that one dispatch reads at most: 1 GiB, about 20 ms on the slowest device in mind (Apple M1).
const MAX_FRACTIONS_PER_DISPATCH: usize = 1 << 25;

/// `2^log_len` fractions on the device, numerators and denominators apart, both in pieces of equal power-of-two length.
///
/// Fraction `i` is element `i % piece_len` of piece `i / piece_len`. Only the first `real_len` are stored, so the last piece may be
/// shorter; the others are *padding*: leaves 0 / alpha, and what follows from them above the leaves. The numerators of interactions are
/// counts, so leaves can hold them in the base field: 20 bytes a fraction instead of 32.
#[derive(Clone)]
pub struct Fractions {
    /// log2 of the number of fractions.
    pub log_len: usize,
    /// Fractions that are stored.
    pub real_len: usize,
    /// Words of the numerators, which are of the extension or, with `base_numerators`, of the base field.
    pub numer: Vec<DeviceBuffer<u32>>,
    /// Denominators.
    pub denom: Vec<DeviceBuffer<EF>>,
    /// Whether a numerator is one word.
    pub base_numerators: bool,
}

impl Fractions {
    /// Room for `2^log_len` fractions, in pieces of at most a segment; contents undefined.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu, log_len: usize) -> Result<Self> {
        Self::alloc_padded(gpu, log_len, 1 << log_len)
    }

    /// Room for the first `real_len` of `2^log_len` fractions, the others being padding.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When `real_len` is 0 or more than `2^log_len`.
    pub fn alloc_padded(gpu: &Gpu, log_len: usize, real_len: usize) -> Result<Self> {
        Self::in_pieces(gpu, (log_len, real_len), gpu.capabilities().segment_elements(4), false)
    }

    /// The same with numerators of the base field.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// As [`Fractions::alloc_padded`].
    pub fn alloc_leaves(gpu: &Gpu, log_len: usize, real_len: usize) -> Result<Self> {
        Self::in_pieces(gpu, (log_len, real_len), gpu.capabilities().segment_elements(4), true)
    }

    fn in_pieces(
        gpu: &Gpu,
        (log_len, real_len): (usize, usize),
        piece_len: usize,
        base_numerators: bool,
    ) -> Result<Self> {
        assert!(real_len > 0 && real_len <= 1 << log_len, "{real_len} of 2^{log_len} fractions");
        let lens = (0..real_len).step_by(piece_len).map(|start| piece_len.min(real_len - start));
        let words = if base_numerators { F::WORDS } else { EF::WORDS };
        let numer = lens.clone().map(|len| gpu.alloc(words * len, "numerators")).collect::<Result<_>>()?;
        let denom = lens.map(|len| gpu.alloc(len, "denominators")).collect::<Result<_>>()?;
        Ok(Self { log_len, real_len, numer, denom, base_numerators })
    }

    /// Number of fractions.
    pub fn len(&self) -> usize {
        1 << self.log_len
    }

    /// Never: there is at least one fraction.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Fractions in each piece; the last one may hold fewer.
    pub fn piece_len(&self) -> usize {
        match self.denom.len() {
            1 => self.len(),
            _ => self.denom[0].len(),
        }
    }

    /// How many of the fractions from `start` on are stored.
    fn real_from(&self, start: usize) -> usize {
        self.real_len.saturating_sub(start)
    }
}

kernel! {
    /// alpha^(2^k)
    struct PaddingPowers("gkr/padding.wgsl", workgroup = 64) {
        buffers { read tape: F, write state: EF }
        params { len, alpha_at }
    }
}

/// Challenges of the stage on the device, as `wgsl/gkr/state.wgsl` lays them out, for a tree of so many levels.
#[derive(Clone)]
pub(crate) struct GkrState {
    /// lambda, the eq prefix, the last window's (r_0, r_1); two points of [`GkrState::MAX_VARS`] coordinates, of which layer `j` reads the
    /// one at `point(j)` and writes the other; the denominators of padding, alpha^(2^k) at k levels above the leaves.
    buffer: DeviceBuffer<EF>,
    /// Levels of the tree below the root.
    levels: usize,
    /// Some leaves are padding; without, its denominators are undefined and have no effect.
    padded: bool,
}

impl GkrState {
    /// Layers that fit.
    pub(crate) const MAX_VARS: usize = 32;

    /// Where the denominators of padding are.
    const PADDING: usize = 4 + 2 * Self::MAX_VARS;

    const LEN: usize = Self::PADDING + Self::MAX_VARS + 1;

    /// For a tree without padding.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(crate) fn alloc(gpu: &Gpu, levels: usize) -> Result<Self> {
        assert!(levels <= Self::MAX_VARS, "a tree of {levels} levels");
        Ok(Self { buffer: gpu.alloc(Self::LEN, "GKR challenges")?, levels, padded: false })
    }

    /// For a tree whose leaves that are not stored are 0 / alpha.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(crate) fn padded(rec: &mut Recorder, levels: usize, alpha: &Challenge) -> Result<Self> {
        let state = Self { padded: true, ..Self::alloc(rec.gpu(), levels)? };
        let len = levels as u32 + 1;
        let powers = PaddingPowers { tape: alpha.tape(), state: &state.buffer, len, alpha_at: alpha.word() };
        rec.dispatch(&powers, Grid::workgroups(1));
        Ok(state)
    }

    /// How often alpha is squared for a padding node of level `level`.
    fn squarings(&self, level: usize) -> u32 {
        (self.levels - level) as u32
    }

    /// Where the point of layer `layer` begins.
    pub(crate) fn point(layer: usize) -> usize {
        4 + Self::MAX_VARS * (layer % 2)
    }
}

#[cfg(test)]
mod tests;
