//! Passes of ten bits, with the whole of a column's rows in one workgroup (`wgsl/ntt/wide.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{PrimeCharacteristicRing, TwoAdicField};

use super::roots;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
};

kernel! {
    /// Ten bits of a DFT
    struct Wide("ntt/wide.wgsl", workgroup = 256) {
        buffers { read src: u32, write dst: u32, read roots: F, read twiddles: F }
        params { log_n, log_l, log_m, log_first_l, fold, first, natural, inverse }
    }
}

/// log2 of the rows of a pass.
pub const LOG_ROWS: usize = 10;

/// log2 of the words of a workgroup's tile.
const LOG_TILE: usize = 13;

/// The table of roots has 32 entries for each value of the DFTs before the pass: 2 MB at most.
pub const MAX_LOG_L: usize = 14;

/// Where a pass stands in a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
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

/// A pass over columns of 2^log_n words.
pub struct WidePass<'a> {
    /// Input: 2^(LOG_ROWS + fold + log_m) words a column in the first pass, else 2^log_n.
    pub src: &'a DeviceBuffer<u32>,
    /// Output.
    pub dst: &'a DeviceBuffer<u32>,
    /// Columns.
    pub columns: usize,
    /// log2 of a column's length after the transform.
    pub log_n: usize,
    /// Where it stands.
    pub place: Place,
    /// One more bit is transformed while loading.
    pub fold: bool,
    /// The last pass makes it the inverse transform.
    pub inverse: bool,
}

impl WidePass<'_> {
    /// log2 of the values per residue that exist before the pass (after folding).
    fn log_l(&self) -> usize {
        match self.place {
            Place::First { log_m } => self.log_n - LOG_ROWS - log_m,
            _ => self.log_n - LOG_ROWS,
        }
    }

    /// Records the pass.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`] for the tables of roots.
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let log_l = self.log_l();
        let (log_m, log_first_l) = match self.place {
            Place::First { log_m } => (log_m, log_l),
            Place::Last { log_first_l } => (0, log_first_l),
            Place::LastNatural => (0, 0),
        };
        let kernel = Wide {
            src: self.src,
            dst: self.dst,
            roots: &roots(rec.gpu())?,
            twiddles: &twiddles(rec.gpu(), log_l)?,
            log_n: self.log_n as u32,
            log_l: log_l as u32,
            log_m: log_m as u32,
            log_first_l: log_first_l as u32,
            fold: self.fold as u32,
            first: matches!(self.place, Place::First { .. }) as u32,
            natural: (self.place == Place::LastNatural) as u32,
            inverse: self.inverse as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(self.columns << (self.log_n - LOG_TILE)));
        Ok(())
    }
}

/// `w_1024^(v q)` as `[v][q]`, then `w_(32 l)^(k u)` as `[k][u]`; v, q, u < 32, k < l.
fn twiddles(gpu: &Gpu, log_l: usize) -> Result<DeviceBuffer<F>> {
    assert!(log_l <= MAX_LOG_L, "a table for 2^{log_l} values");
    gpu.table(&format!("ntt wide {log_l}"), || {
        let powers = |log_order: usize, count: usize| {
            let bases = F::two_adic_generator(log_order).powers().take(count);
            bases.flat_map(|base| base.powers().take(32))
        };
        powers(10, 32).chain(powers(5 + log_l, 1 << log_l)).collect()
    })
}
