//! The sumcheck over the combined vectors of all groups, concatenated tallest first.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{round_workgroups, Point, PARTIAL_ELEMENTS};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::{
        eq::{Ends, EqHeaps},
        transcript::Challenge,
    },
};

kernel! {
    /// The weights of all groups' combined vectors.
    struct CubeWeightsKernel("stacked_reduction/cube_weights.wgsl", workgroup = 256) {
        buffers { read plan: u32, read eq_tables: EF, read point: EF, write weights: EF }
        params {
            len, groups, low_bits, l_skip,
            /// Where the groups begin in `plan`: at_g, n_g, kind.
            plan_at,
        }
    }
}

kernel! {
    /// Fold and evaluate.
    struct CubeRoundKernel("stacked_reduction/cube_round.wgsl", workgroup = 256) {
        buffers {
            read tape: F, read values: EF, read weights: EF,
            write next_values: EF, write next_weights: EF, write partials: EF,
        }
        params { len, paired, fold, u_word, workgroups, partial_at }
    }
}

/// eq(x, r[1..1+n]) for all n up to `low_bits + high_bits`; see `eq_cube.wgsl`.
pub struct CubeEqTables {
    pub tables: DeviceBuffer<EF>,
    pub low_bits: usize,
}

impl CubeEqTables {
    /// Tables for cubes of up to `low_bits + high_bits` dimensions.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(rec: &mut Recorder, r: &DeviceBuffer<EF>, low_bits: usize, high_bits: usize) -> Result<Self> {
        let heaps = EqHeaps { coordinates: r, first: 1, low_vars: low_bits, high_vars: high_bits, of: Ends::Prefixes };
        Ok(Self { tables: heaps.record(rec)?, low_bits })
    }
}

/// Combined vectors and their weights at one level of folding, all groups concatenated.
#[derive(Clone)]
pub struct CubeTables {
    pub values: DeviceBuffer<EF>,
    pub weights: DeviceBuffer<EF>,
}

impl CubeTables {
    /// Tables of `len` elements.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu, len: usize) -> Result<Self> {
        Ok(Self { values: gpu.alloc(len, "combined vectors")?, weights: gpu.alloc(len, "their weights")? })
    }
}

/// The weights of `groups` groups on their cubes, to `weights`.
pub struct CubeWeights<'a> {
    pub eq: &'a CubeEqTables,
    pub point: &'a Point,
    /// Three words a group from `plan_at` on: first element, dimension, kind.
    pub plan: &'a DeviceBuffer<u32>,
    pub plan_at: usize,
    pub groups: usize,
    pub weights: &'a DeviceBuffer<EF>,
}

impl CubeWeights<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { eq, point, plan, plan_at, groups, weights } = *self;
        assert!(plan_at + 3 * groups <= plan.len(), "groups");
        let len = weights.len();
        let kernel = CubeWeightsKernel {
            plan,
            eq_tables: &eq.tables,
            point: &point.values,
            weights,
            len: len as u32,
            groups: groups as u32,
            low_bits: eq.low_bits as u32,
            l_skip: point.l_skip() as u32,
            plan_at: plan_at as u32,
        };
        rec.dispatch(&kernel, Grid::threads(len));
    }
}

/// One round: `len` elements after the fold, of which the first `paired` (an even number) have a variable left.
pub struct CubeRound<'a> {
    pub tables: &'a CubeTables,
    pub next: &'a CubeTables,
    pub len: usize,
    pub paired: usize,
    /// The challenge to fold with; `None` in the first round, which evaluates `tables` as they are.
    pub fold: Option<&'a Challenge>,
    /// At least [`PARTIAL_ELEMENTS`].
    pub partials: &'a DeviceBuffer<EF>,
}

impl CubeRound<'_> {
    /// Folds into `next` and leaves partial sums; returns how many pairs of them.
    pub fn record(&self, rec: &mut Recorder) -> usize {
        if self.len == 0 {
            return 0;
        }
        let (sources, results) = if self.fold.is_some() { (2 * self.len, self.len) } else { (self.len, 0) };
        assert!(sources <= self.tables.values.len() && results <= self.next.values.len(), "tables of a round");
        assert!(
            self.paired <= self.len && self.paired.is_multiple_of(2) && self.partials.len() >= PARTIAL_ELEMENTS,
            "pairs"
        );
        let workgroups = round_workgroups(self.len.div_ceil(2));
        let unread = self.tables.values.cast();
        let kernel = CubeRoundKernel {
            tape: self.fold.map_or(&unread, Challenge::tape),
            values: &self.tables.values,
            weights: &self.tables.weights,
            next_values: &self.next.values,
            next_weights: &self.next.weights,
            partials: self.partials,
            len: self.len as u32,
            paired: self.paired as u32,
            fold: self.fold.is_some() as u32,
            u_word: self.fold.map_or(0, Challenge::word),
            workgroups: workgroups as u32,
            partial_at: 0,
        };
        rec.dispatch(&kernel, Grid::workgroups(workgroups));
        workgroups
    }
}
