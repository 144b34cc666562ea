//! Round 0: sums of the combined vectors over the hypercube, the polynomial s_0, and what its challenge u_0 determines.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing, TwoAdicField};

use super::EqTables;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::{transcript::Challenge, MAX_L_SKIP},
};

kernel! {
    /// Sums of a combined vector over the hypercube, weighted by eq and by the rotated eq.
    struct Round0Records("stacked_reduction/round0_records.wgsl", workgroup = 256) {
        buffers { read combined: EF, read eq_tables: EF, write records: EF }
        params { first_block, blocks, workgroups, log_z, n, low_bits, rot, record_at, l_skip }
    }
}

kernel! {
    /// Per kind of view: polynomials of the sums, and the weight polynomial.
    struct Round0Kinds("stacked_reduction/round0_kinds.wgsl", workgroup = 256) {
        buffers {
            read tape: F, read plan: u32, read records: EF, read constants: EF, read skip_domain: F,
            write polynomials: EF, write kind_weights: EF,
        }
        params { l_skip, lambda_word, plan_at }
    }
}

kernel! {
    /// The coefficients of s_0.
    struct Round0Poly("stacked_reduction/round0_poly.wgsl", workgroup = 256) {
        buffers { read polynomials: EF, read kind_weights: EF, write s_0: EF }
        params { l_skip, kinds }
    }
}

kernel! {
    /// Lagrange basis at u_0 and the kinds' weights there.
    struct PointKernel("stacked_reduction/point.wgsl", workgroup = 256) {
        buffers { read tape: F, read skip_domain: F, read kind_weights: EF, write point: EF }
        params { l_skip, kinds, u_word }
    }
}

kernel! {
    /// A combined vector at u_0.
    struct FoldPle("stacked_reduction/fold_ple.wgsl", workgroup = 256) {
        buffers { read combined: EF, read point: EF, write folded: EF }
        params { rows, l_skip, out_at }
    }
}

/// Extension elements in the workgroup memory of `wgsl/stacked_reduction/round0_kinds.wgsl`.
const KIND_VALUES: usize = 1024;

const _: () = assert!(2 << MAX_L_SKIP <= KIND_VALUES, "two polynomials of N coefficients fit the workgroup memory");

/// log2 of the threads of these kernels' workgroups.
const WORKGROUP_LOG: usize = 8;

/// Elements of a combined vector per record at least (16 a thread).
pub const RECORD_ELEMENTS: usize = 1 << 12;

/// Records of one piece of a combined vector at most: enough workgroups for a large GPU, few enough that adding them is no work.
const PIECE_RECORDS: usize = 256;

/// omega^-k / N for k < N = 2^l_skip, then omega^k.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub fn skip_domain(gpu: &Gpu, l_skip: usize) -> Result<DeviceBuffer<F>> {
    gpu.table(&format!("skip domain {l_skip}"), || {
        let omega = F::two_adic_generator(l_skip);
        let size = 1 << l_skip;
        let inverse = omega.inverse().powers().take(size).map(|w| w.div_2exp_u64(l_skip as u64));
        inverse.chain(omega.powers().take(size)).collect()
    })
}

/// The kernels of round 0 for one `l_skip`.
pub struct Round0<'a> {
    pub l_skip: usize,
    /// Number of kinds of views.
    pub kinds: usize,
    pub skip_domain: &'a DeviceBuffer<F>,
}

/// One piece of a combined vector, rows `start..start + 2^log_len` of 2^log_height.
pub struct CombinedPiece<'a> {
    pub combined: &'a DeviceBuffer<EF>,
    pub start: usize,
    pub len: usize,
    pub log_height: usize,
    pub rot: bool,
}

impl Round0<'_> {
    /// Points of the skip domain with values, and dimension of the cube, for a height.
    fn shape(&self, log_height: usize) -> (usize, usize) {
        (log_height.min(self.l_skip), log_height.saturating_sub(self.l_skip))
    }

    /// Rows of a block: points of the cube that share the high part of eq, times the skip domain.
    fn block_bits(&self, eq: &EqTables, log_height: usize) -> usize {
        let (log_z, n) = self.shape(log_height);
        log_z + n.min(eq.low_bits)
    }

    /// How many records a piece of `len` rows of a vector of 2^log_height gives.
    pub fn records_of(&self, eq: &EqTables, log_height: usize, len: usize) -> usize {
        (len >> self.block_bits(eq, log_height)).min(PIECE_RECORDS)
    }

    /// Sums of a piece over the hypercube, to the records from `record_at` on.
    pub fn records(
        &self,
        rec: &mut Recorder,
        eq: &EqTables,
        piece: &CombinedPiece<'_>,
        records: (&DeviceBuffer<EF>, usize),
    ) {
        let (log_z, n) = self.shape(piece.log_height);
        let block_bits = self.block_bits(eq, piece.log_height);
        assert!(
            piece.start.is_multiple_of(1 << block_bits) && piece.len.is_multiple_of(1 << block_bits),
            "whole blocks"
        );
        let workgroups = self.records_of(eq, piece.log_height, piece.len);
        assert!((records.1 + workgroups) << (self.l_skip + 1) <= records.0.len(), "room for the records");
        let kernel = Round0Records {
            combined: piece.combined,
            eq_tables: &eq.tables,
            records: records.0,
            first_block: (piece.start >> block_bits) as u32,
            blocks: (piece.len >> block_bits) as u32,
            workgroups: workgroups as u32,
            log_z: log_z as u32,
            n: n as u32,
            low_bits: eq.low_bits as u32,
            rot: piece.rot as u32,
            record_at: records.1 as u32,
            l_skip: self.l_skip as u32,
        };
        // where the skip domain is larger than a workgroup, several share a record
        rec.dispatch(&kernel, Grid::workgroups(workgroups << log_z.saturating_sub(WORKGROUP_LOG)));
    }

    /// The coefficients of s_0 and the kinds' weight polynomials (N + 1 elements a kind). `plan` has three words a kind from `plan_at`
    /// on (first record, records, log_z), `constants` 2 N + 1 elements a kind.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn polynomial(
        &self,
        rec: &mut Recorder,
        lambda: &Challenge,
        (plan, plan_at): (&DeviceBuffer<u32>, usize),
        records: &DeviceBuffer<EF>,
        constants: &DeviceBuffer<EF>,
    ) -> Result<(DeviceBuffer<EF>, DeviceBuffer<EF>)> {
        let (size, l_skip) = (1 << self.l_skip, self.l_skip as u32);
        assert!(self.l_skip <= MAX_L_SKIP, "the values of a kind fit the workgroup memory");
        assert!(plan_at + 3 * self.kinds <= plan.len() && self.kinds * (2 * size + 1) <= constants.len(), "kinds");
        let polynomials = rec.gpu().alloc(self.kinds * 2 * size, "polynomials of round 0")?;
        let kind_weights = rec.gpu().alloc(self.kinds * (size + 1), "weights of kinds")?;
        let s_0 = rec.gpu().alloc(2 * size - 1, "s_0")?;
        let kinds = Round0Kinds {
            tape: lambda.tape(),
            plan,
            records,
            constants,
            skip_domain: self.skip_domain,
            polynomials: &polynomials,
            kind_weights: &kind_weights,
            l_skip,
            lambda_word: lambda.word(),
            plan_at: plan_at as u32,
        };
        rec.dispatch(&kinds, Grid::workgroups(self.kinds));
        let poly = Round0Poly {
            polynomials: &polynomials,
            kind_weights: &kind_weights,
            s_0: &s_0,
            l_skip,
            kinds: self.kinds as u32,
        };
        rec.dispatch(&poly, Grid::threads(2 * size - 1));
        Ok((s_0, kind_weights))
    }
}

/// What u_0 determines: the Lagrange basis of the skip domain, then alpha and beta of each kind.
pub struct Point {
    pub values: DeviceBuffer<EF>,
    l_skip: usize,
}

impl Point {
    /// From the kinds' weight polynomials.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(
        rec: &mut Recorder,
        round0: &Round0<'_>,
        kind_weights: &DeviceBuffer<EF>,
        u_0: &Challenge,
    ) -> Result<Self> {
        let size = 1 << round0.l_skip;
        assert!(kind_weights.len() >= round0.kinds * (size + 1), "kinds");
        let values = rec.gpu().alloc(size + 2 * round0.kinds, "point of round 0")?;
        let kernel = PointKernel {
            tape: u_0.tape(),
            skip_domain: round0.skip_domain,
            kind_weights,
            point: &values,
            l_skip: round0.l_skip as u32,
            kinds: round0.kinds as u32,
            u_word: u_0.word(),
        };
        rec.dispatch(&kernel, Grid::threads(size + round0.kinds));
        Ok(Self { values, l_skip: round0.l_skip })
    }

    /// `folded[out_at + x] = combined(u_0, x)` for the first `rows` elements of a combined piece.
    pub fn fold(
        &self,
        rec: &mut Recorder,
        combined: &DeviceBuffer<EF>,
        rows: usize,
        folded: (&DeviceBuffer<EF>, usize),
    ) {
        assert!(rows.is_multiple_of(1 << self.l_skip) && rows <= combined.len(), "whole prisms");
        assert!(folded.1 + (rows >> self.l_skip) <= folded.0.len(), "room for the fold");
        let kernel = FoldPle {
            combined,
            point: &self.values,
            folded: folded.0,
            rows: rows as u32,
            l_skip: self.l_skip as u32,
            out_at: folded.1 as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(rows.div_ceil(1 << self.l_skip.max(WORKGROUP_LOG))));
    }
}
