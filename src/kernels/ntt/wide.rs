//! Passes of ten bits, with the whole of a column's rows in one workgroup (`wgsl/ntt/wide.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{PrimeCharacteristicRing, TwoAdicField};

use super::roots;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Kernel, Recorder},
    kernel,
};

kernel! {
    /// The first or the last of two passes of ten bits
    struct Wide("ntt/wide.wgsl", workgroup = 512) {
        buffers { read src: u32, write dst: u32, read roots: F, read twiddles: F as vec4<u32> }
        params { columns, repeat, inverse }
        overrides { PLACE, FOLD, LOG_L, LOG_M, LOG_FIRST_L }
    }
}

kernel! {
    /// A last pass of ten bits after narrow ones
    struct WideNatural("ntt/wide.wgsl", workgroup = 512) {
        buffers { read src: u32, write dst: u32, read roots: F, read twiddles: F as vec4<u32> }
        params { columns, repeat, inverse, log_l }
        flags { NATURAL }
    }
}

/// log2 of the rows of a pass.
pub(super) const LOG_ROWS: usize = 10;

/// log2 of the words of a workgroup's tile.
const LOG_TILE: usize = 13;

/// The table of roots has 16 entries for each value of the DFTs before the pass: 1 MB at most.
pub(super) const MAX_LOG_L: usize = 14;

/// A workgroup repeats its tile in several columns to load the next while it transforms one, and to compute its roots once, but not so many
/// that fewer workgroups than this remain: four on each multiprocessor of the largest card, which holds one at a time.
const ENOUGH_WORKGROUPS: usize = 512;
const MAX_REPEAT: usize = 16;

/// Whether a device has workgroups of the kernels' size, which is more than WebGPU guarantees.
pub(super) fn fits(gpu: &Gpu) -> bool {
    gpu.capabilities().workgroup_threads >= Wide::DECL.workgroup
}

/// Where a pass stands in a transform: the constants of these names in `wgsl/ntt/wide.wgsl`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WidePlace {
    /// The first of two: reads coefficients.
    First {
        /// log2 of the rows of the last pass, with its folded ones.
        log_m: usize,
    },
    /// The second of two: reads what the first stores.
    Last {
        /// log2 of the values that the first pass makes of each coefficient's place: its `log_l`.
        log_first_l: usize,
    },
    /// After narrow passes: reads natural order.
    LastNatural,
}

impl WidePlace {
    fn number(self) -> u32 {
        match self {
            Self::First { .. } => 0,
            Self::Last { .. } => 1,
            Self::LastNatural => 2,
        }
    }
}

/// A pass over columns of 2^log_n words.
pub(super) struct WidePass<'a> {
    /// Input: 2^(LOG_ROWS + fold + log_m) words a column in the first pass, else 2^log_n.
    pub src: &'a DeviceBuffer<u32>,
    /// Output.
    pub dst: &'a DeviceBuffer<u32>,
    /// Columns.
    pub columns: usize,
    /// log2 of a column's length after the transform.
    pub log_n: usize,
    /// Where it stands.
    pub place: WidePlace,
    /// One more bit is transformed while loading.
    pub fold: bool,
    /// The last pass makes it the inverse transform.
    pub inverse: bool,
}

impl WidePass<'_> {
    /// log2 of the values per residue that exist before the pass (after folding).
    fn log_l(&self) -> usize {
        match self.place {
            WidePlace::First { log_m } => self.log_n - LOG_ROWS - log_m,
            _ => self.log_n - LOG_ROWS,
        }
    }

    /// Records the pass.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`] for the tables of roots.
    pub(super) fn record(&self, rec: &mut Recorder) -> Result<()> {
        let log_l = self.log_l();
        let tiles = 1 << (self.log_n - LOG_TILE);
        let repeat = (self.columns * tiles / ENOUGH_WORKGROUPS).clamp(1, MAX_REPEAT);
        let grid = Grid::workgroups(self.columns.div_ceil(repeat) * tiles);
        let (src, dst, columns, repeat, inverse) =
            (self.src, self.dst, self.columns as u32, repeat as u32, self.inverse as u32);
        let (roots, twiddles) = (&roots(rec.gpu())?, &twiddles(rec.gpu(), log_l)?);
        let (log_m, log_first_l) = match self.place {
            WidePlace::First { log_m } => (log_m, log_l),
            WidePlace::Last { log_first_l } => (0, log_first_l),
            WidePlace::LastNatural => {
                let log_l = log_l as u32;
                let kernel = WideNatural { src, dst, roots, twiddles, columns, repeat, inverse, log_l, NATURAL: true };
                rec.dispatch(&kernel, grid);
                return Ok(());
            }
        };
        let kernel = Wide {
            src,
            dst,
            roots,
            twiddles,
            columns,
            repeat,
            inverse,
            PLACE: self.place.number(),
            FOLD: self.fold as u32,
            LOG_L: log_l as u32,
            LOG_M: log_m as u32,
            LOG_FIRST_L: log_first_l as u32,
        };
        rec.dispatch(&kernel, grid);
        Ok(())
    }
}

/// `w_1024^(v q)` as `[v][q]`, v < 64, q < 16; `w_64^(v q)` as `[v][q]`, v, q < 8; `w_(16 l)^(k u)` as `[k][u]`, k < l, u < 16.
fn twiddles(gpu: &Gpu, log_l: usize) -> Result<DeviceBuffer<F>> {
    assert!(log_l <= MAX_LOG_L, "a table for 2^{log_l} values");
    gpu.table(&format!("ntt wide {log_l}"), || {
        let powers = |log_order: usize, bases: usize, len: usize| {
            let bases = F::two_adic_generator(log_order).powers().take(bases);
            bases.flat_map(move |base| base.powers().take(len))
        };
        powers(10, 64, 16).chain(powers(6, 8, 8)).chain(powers(4 + log_l, 1 << log_l, 16)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wgsl_constant;

    #[test]
    fn places_have_their_numbers() {
        let constant = |name| wgsl_constant(include_str!("../../../wgsl/ntt/wide.wgsl"), name);
        let first = ("FIRST", WidePlace::First { log_m: 10 });
        let places = [first, ("LAST", WidePlace::Last { log_first_l: 1 }), ("LAST_NATURAL", WidePlace::LastNatural)];
        assert_eq!(places.map(|(name, _)| constant(name)), places.map(|(_, place)| place.number()));
    }
}
