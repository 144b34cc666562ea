//! Building the fraction tree (`wgsl/gkr/tree.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{Fractions, GkrState, MAX_FRACTIONS_PER_DISPATCH};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// Sums of 2^rise neighbours.
    struct Tree("gkr/tree.wgsl", workgroup = 256) {
        buffers { read source_p: u32 as Numerator, read source_q: EF, write target_p: u32 as vec4<u32>, write target_q: EF, read state: EF }
        params { len, rise, source_at, target_at, real, squarings }
        flags {
            /// Numerators of the source are of the base field.
            BASE_NUMERATORS
        }
    }
}

/// The upper levels of a fraction tree. Node `i` of level `k` is at `2^k + i`, its numerator at twice that place and its denominator behind it.
/// The kernel that reads it builds it from its lowest level.
#[derive(Clone)]
pub(crate) struct Heap {
    /// The lowest level, without padding.
    pub level: Fractions,
    pub nodes: DeviceBuffer<EF>,
}

impl Heap {
    /// The element that will be the root's numerator.
    pub(crate) const ROOT_NUMERATOR: usize = 2;

    /// The levels 0 ..= `top` above `source`, which is at most three levels below.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
    pub(crate) fn above(rec: &mut Recorder, source: &Fractions, top: usize, state: &GkrState) -> Result<Self> {
        let level = Fractions::in_pieces(rec.gpu(), (top, 1 << top), 1 << top, false)?;
        Raise { source, rise: source.log_len - top, target: &level, state }.record(rec);
        Ok(Self { level, nodes: rec.gpu().alloc(4 << top, "upper fractions")? })
    }

    /// The lowest level's number.
    pub(crate) fn top(&self) -> usize {
        self.level.log_len
    }
}

/// The level `rise` above `source`, without its padding.
///
/// # Errors
///
/// As [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub(crate) fn raise(rec: &mut Recorder, source: &Fractions, rise: usize, state: &GkrState) -> Result<Fractions> {
    let real_len = source.real_len.div_ceil(1 << rise);
    let target = Fractions::alloc_padded(rec.gpu(), source.log_len - rise, real_len)?;
    Raise { source, rise, target: &target, state }.record(rec);
    Ok(target)
}

/// The sums of 2^rise neighbours of `source`, as many of them as `target` stores.
struct Raise<'a> {
    source: &'a Fractions,
    rise: usize,
    target: &'a Fractions,
    state: &'a GkrState,
}

impl Raise<'_> {
    fn record(&self, rec: &mut Recorder) {
        assert!(self.rise <= 3, "the tree kernel sums at most eight fractions");
        assert!(!self.target.base_numerators, "sums have numerators of the extension");
        let nodes = self.target.real_len;
        let (source_len, target_len) = (self.source.piece_len() >> self.rise, self.target.piece_len());
        let step = source_len.min(target_len).min(MAX_FRACTIONS_PER_DISPATCH >> self.rise);
        for node in (0..nodes).step_by(step) {
            self.dispatch(rec, node, step.min(nodes - node));
        }
    }

    fn dispatch(&self, rec: &mut Recorder, node: usize, len: usize) {
        let Self { source, rise, target, state } = self;
        let (source_len, target_len) = (source.piece_len() >> rise, target.piece_len());
        let (from, to) = (node / source_len, node / target_len);
        // a piece that is all padding is not there; another stands in for it and is not read
        let piece = from.min(source.numer.len() - 1);
        let tree = Tree {
            source_p: &source.numer[piece],
            source_q: &source.denom[piece],
            target_p: &target.numer[to],
            target_q: &target.denom[to],
            state: &state.buffer,
            len: len as u32,
            rise: *rise as u32,
            source_at: (node % source_len) as u32,
            target_at: (node % target_len) as u32,
            real: source.real_from(from * source.piece_len()) as u32,
            squarings: state.squarings(source.log_len),
            BASE_NUMERATORS: source.base_numerators,
        };
        rec.dispatch(&tree, Grid::threads(len));
    }
}
