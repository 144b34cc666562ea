//! Building the fraction tree (`wgsl/gkr/tree.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{Fractions, MAX_FRACTIONS_PER_DISPATCH};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
};

kernel! {
    /// Sums of 2^rise neighbours.
    struct Tree("gkr/tree.wgsl", workgroup = 256) {
        buffers { read source_p: EF, read source_q: EF, write target_p: EF, write target_q: EF }
        params { len, rise, source_at, target_at }
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

    /// Fills the lowest level from `source`, whose sums of 2^(log_len - top) neighbours it is.
    pub fn fill_top(&self, rec: &mut Recorder, source: &Fractions) {
        let whole =
            Fractions { log_len: self.top + 1, numer: vec![self.numer.clone()], denom: vec![self.denom.clone()] };
        raise_to(rec, source, source.log_len - self.top, (&whole, 1 << self.top));
    }
}

/// The level `rise` above `source`.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub(crate) fn raise(rec: &mut Recorder, source: &Fractions, rise: usize) -> Result<Fractions> {
    let target = Fractions::alloc(rec.gpu(), source.log_len - rise)?;
    raise_to(rec, source, rise, (&target, 0));
    Ok(target)
}

fn raise_to(rec: &mut Recorder, source: &Fractions, rise: usize, (target, target_at): (&Fractions, usize)) {
    assert!(rise <= 3, "the tree kernel sums at most eight fractions");
    let nodes = source.len() >> rise;
    let (source_len, target_len) = (source.piece_len() >> rise, target.piece_len());
    let step = source_len.min(target_len).min(MAX_FRACTIONS_PER_DISPATCH >> rise).min(nodes);
    for node in (0..nodes).step_by(step) {
        let (from, to) = (node / source_len, (target_at + node) / target_len);
        let tree = Tree {
            source_p: &source.numer[from],
            source_q: &source.denom[from],
            target_p: &target.numer[to],
            target_q: &target.denom[to],
            len: step as u32,
            rise: rise as u32,
            source_at: (node % source_len) as u32,
            target_at: ((target_at + node) % target_len) as u32,
        };
        rec.dispatch(&tree, Grid::threads(step));
    }
}
