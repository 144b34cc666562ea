//! Building the fraction tree (`wgsl/gkr/tree.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{Fractions, Padding, MAX_FRACTIONS_PER_DISPATCH};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
};

kernel! {
    /// Sums of 2^rise neighbours.
    struct Tree("gkr/tree.wgsl", workgroup = 256) {
        buffers { read source_p: u32, read source_q: EF, write target_p: u32, write target_q: EF, read padding: EF }
        params { len, rise, source_at, target_at, real, squarings }
        flags {
            /// Numerators of the source are of the base field.
            BASE_NUMERATORS
        }
    }
}

/// The upper levels of a fraction tree in one buffer each for numerators and denominators: node `i` of level `k` at `2^k + i`.
#[derive(Clone)]
pub(crate) struct Heap {
    /// The lowest level that it holds.
    pub top: usize,
    pub numer: DeviceBuffer<EF>,
    pub denom: DeviceBuffer<EF>,
}

impl Heap {
    /// Room for the levels 0 ..= `top`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu, top: usize) -> Result<Self> {
        let numer = gpu.alloc(2 << top, "upper numerators")?;
        let denom = gpu.alloc(2 << top, "upper denominators")?;
        Ok(Self { top, numer, denom })
    }

    /// Fills the lowest level from `source`, whose sums of 2^(log_len - top) neighbours it is. Padding is written, too.
    pub fn fill_top(&self, rec: &mut Recorder, source: &Fractions, padding: &Padding) {
        let whole = Fractions {
            log_len: self.top + 1,
            real_len: 2 << self.top,
            numer: vec![self.numer.cast()],
            denom: vec![self.denom.clone()],
            base_numerators: false,
        };
        Raise { source, rise: source.log_len - self.top, target: &whole, target_at: 1 << self.top, padding }
            .record(rec);
    }
}

/// The level `rise` above `source`, without its padding.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub(crate) fn raise(rec: &mut Recorder, source: &Fractions, rise: usize, padding: &Padding) -> Result<Fractions> {
    let real_len = source.real_len.div_ceil(1 << rise);
    let target = Fractions::alloc_padded(rec.gpu(), source.log_len - rise, real_len)?;
    Raise { source, rise, target: &target, target_at: 0, padding }.record(rec);
    Ok(target)
}

/// The sums of 2^rise neighbours of `source`, as many of them as there is room for from fraction `target_at` of `target` on.
struct Raise<'a> {
    source: &'a Fractions,
    rise: usize,
    target: &'a Fractions,
    target_at: usize,
    padding: &'a Padding,
}

impl Raise<'_> {
    fn record(&self, rec: &mut Recorder) {
        assert!(self.rise <= 3, "the tree kernel sums at most eight fractions");
        assert!(!self.target.base_numerators, "sums have numerators of the extension");
        let nodes = self.target.real_len - self.target_at;
        let (source_len, target_len) = (self.source.piece_len() >> self.rise, self.target.piece_len());
        let step = source_len.min(target_len).min(MAX_FRACTIONS_PER_DISPATCH >> self.rise);
        for node in (0..nodes).step_by(step) {
            self.dispatch(rec, node, step.min(nodes - node));
        }
    }

    fn dispatch(&self, rec: &mut Recorder, node: usize, len: usize) {
        let Self { source, rise, target, target_at, padding } = self;
        let (source_len, target_len) = (source.piece_len() >> rise, target.piece_len());
        let (from, to) = (node / source_len, (target_at + node) / target_len);
        // a piece that is all padding is not there; another stands in for it and is not read
        let piece = from.min(source.numer.len() - 1);
        let tree = Tree {
            source_p: &source.numer[piece],
            source_q: &source.denom[piece],
            target_p: &target.numer[to],
            target_q: &target.denom[to],
            padding: &padding.denom,
            len: len as u32,
            rise: *rise as u32,
            source_at: (node % source_len) as u32,
            target_at: ((target_at + node) % target_len) as u32,
            real: source.real_from(from * source.piece_len()) as u32,
            squarings: padding.squarings(source.log_len),
            BASE_NUMERATORS: source.base_numerators,
        };
        rec.dispatch(&tree, Grid::threads(len));
    }
}
