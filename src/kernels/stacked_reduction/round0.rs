//! Round 0: sums of the combined vectors over the hypercube, the polynomial s_0, and what its challenge u_0 determines.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing, TwoAdicField};

use super::{jobs::JobTable, CubeEqTables};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::{transcript::Challenge, MAX_L_SKIP},
};

kernel! {
    /// Sums of a combined vector over the hypercube, weighted by eq and by the rotated eq.
    struct Round0Records("stacked_reduction/round0_records.wgsl", workgroup = 256) {
        buffers { read combined: EF, read eq_tables: EF, write records: EF, read jobs: u32 as vec4<u32> }
        params { low_bits, l_skip, first_job, jobs_len }
    }
}

kernel! {
    /// Per kind of view: polynomials of the sums, and the weight polynomial.
    struct Round0Kinds("stacked_reduction/round0_kinds.wgsl", workgroup = 256) {
        buffers {
            read tape: F, read plan: u32, read records: EF, read constants: EF, read skip_domain: F,
            write polynomials: EF, write kind_weights: EF,
        }
        params {
            l_skip, lambda_word,
            /// Where the kinds begin in `plan`: first record, number of records, log_z.
            plan_at,
        }
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
    struct FoldPleKernel("stacked_reduction/fold_ple.wgsl", workgroup = 256) {
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
pub struct Round0Tables<'a> {
    pub l_skip: usize,
    /// Number of kinds of views.
    pub kinds: usize,
    pub skip_domain: &'a DeviceBuffer<F>,
}

/// One piece of a combined vector, rows `start..start + len` of 2^log_height.
pub struct CombinedPiece<'a> {
    pub combined: &'a DeviceBuffer<EF>,
    /// First element of the piece there.
    pub at: usize,
    pub start: usize,
    pub len: usize,
    pub log_height: usize,
    pub rot: bool,
    /// First of its records.
    pub record_at: usize,
}

impl Round0Tables<'_> {
    /// Points of the skip domain with values, and dimension of the cube, for a height.
    fn shape(&self, log_height: usize) -> (usize, usize) {
        (log_height.min(self.l_skip), log_height.saturating_sub(self.l_skip))
    }

    /// Rows of a block: points of the cube that share the high part of eq, times the skip domain.
    fn block_bits(&self, eq: &CubeEqTables, log_height: usize) -> usize {
        let (log_z, n) = self.shape(log_height);
        log_z + n.min(eq.low_bits)
    }

    /// How many records a piece of `len` rows of a vector of 2^log_height gives.
    pub fn records_of(&self, eq: &CubeEqTables, log_height: usize, len: usize) -> usize {
        (len >> self.block_bits(eq, log_height)).min(PIECE_RECORDS)
    }
}

/// Sums of pieces over the hypercube, to their records.
pub struct RecordSums<'a> {
    pub round0: &'a Round0Tables<'a>,
    pub eq: &'a CubeEqTables,
    pub pieces: &'a [CombinedPiece<'a>],
    pub records: &'a DeviceBuffer<EF>,
}

impl RecordSums<'_> {
    /// Records it: a dispatch for all neighbouring pieces of one buffer.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { round0, eq, pieces, records } = *self;
        let mut jobs = JobTable::default();
        for (i, piece) in pieces.iter().enumerate() {
            if i == 0 || !jobs.source().shares_memory(piece.combined) {
                jobs.begin(piece.combined.clone());
            }
            self.add_to(&mut jobs, piece);
        }
        jobs.record(rec, |rec, combined, jobs, (first_job, jobs_len), grid| {
            let (low_bits, l_skip) = (eq.low_bits as u32, round0.l_skip as u32);
            let eq_tables = &eq.tables;
            let kernel = Round0Records { combined, eq_tables, records, jobs, low_bits, l_skip, first_job, jobs_len };
            rec.dispatch(&kernel, grid);
        })
    }

    fn add_to(&self, jobs: &mut JobTable<EF>, piece: &CombinedPiece<'_>) {
        let Self { round0, eq, records, .. } = *self;
        let CombinedPiece { at, start, len, log_height, rot, record_at, .. } = *piece;
        let (log_z, n) = round0.shape(log_height);
        let block_bits = round0.block_bits(eq, log_height);
        assert!(start.is_multiple_of(1 << block_bits) && len.is_multiple_of(1 << block_bits), "whole blocks");
        assert!(at + len <= piece.combined.len(), "a piece past the end");
        let workgroups = round0.records_of(eq, log_height, len);
        assert!((record_at + workgroups) << (round0.l_skip + 1) <= records.len(), "room for the records");
        let (first_block, blocks) = (start >> block_bits, len >> block_bits);
        let words = [at, first_block, blocks, workgroups, log_z, n, usize::from(rot), record_at];
        // where the skip domain is larger than a workgroup, several share a record
        jobs.add(&words, workgroups << log_z.saturating_sub(WORKGROUP_LOG));
    }
}

/// The polynomial of round 0 from the sums of each kind.
pub struct Polynomial0<'a> {
    pub round0: &'a Round0Tables<'a>,
    pub lambda: &'a Challenge,
    /// Three words a kind: first record, records, log_z.
    pub plan: &'a DeviceBuffer<u32>,
    pub records: &'a DeviceBuffer<EF>,
    /// 2 N + 1 elements a kind.
    pub constants: &'a DeviceBuffer<EF>,
}

impl Polynomial0<'_> {
    /// The coefficients of s_0 and the kinds' weight polynomials (N + 1 elements a kind).
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn record(&self, rec: &mut Recorder) -> Result<(DeviceBuffer<EF>, DeviceBuffer<EF>)> {
        let Self { round0: &Round0Tables { l_skip, kinds, skip_domain }, lambda, plan, records, constants } = *self;
        let size = 1 << l_skip;
        assert!(l_skip <= MAX_L_SKIP, "the values of a kind fit the workgroup memory");
        assert!(3 * kinds <= plan.len() && kinds * (2 * size + 1) <= constants.len(), "kinds");
        let polynomials = rec.gpu().alloc(kinds * 2 * size, "polynomials of round 0")?;
        let kind_weights = rec.gpu().alloc(kinds * (size + 1), "weights of kinds")?;
        let s_0 = rec.gpu().alloc(2 * size - 1, "s_0")?;
        let of_kinds = Round0Kinds {
            tape: lambda.tape(),
            plan,
            records,
            constants,
            skip_domain,
            polynomials: &polynomials,
            kind_weights: &kind_weights,
            l_skip: l_skip as u32,
            lambda_word: lambda.word(),
            plan_at: 0,
        };
        rec.dispatch(&of_kinds, Grid::workgroups(kinds));
        let poly = Round0Poly {
            polynomials: &polynomials,
            kind_weights: &kind_weights,
            s_0: &s_0,
            l_skip: l_skip as u32,
            kinds: kinds as u32,
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
        round0: &Round0Tables<'_>,
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

    pub(super) fn l_skip(&self) -> usize {
        self.l_skip
    }
}

/// `folded[at + x] = combined(u_0, x)` for the first `rows` rows of combined vectors.
pub struct FoldCombined<'a> {
    pub point: &'a Point,
    pub combined: &'a DeviceBuffer<EF>,
    pub rows: usize,
    pub folded: &'a DeviceBuffer<EF>,
    pub at: usize,
}

impl FoldCombined<'_> {
    /// Records it.
    pub fn record(&self, rec: &mut Recorder) {
        let Self { point, combined, rows, folded, at } = *self;
        let l_skip = point.l_skip;
        assert!(rows.is_multiple_of(1 << l_skip) && rows <= combined.len(), "whole prisms");
        assert!(at + (rows >> l_skip) <= folded.len(), "room for the fold");
        let kernel = FoldPleKernel {
            combined,
            point: &point.values,
            folded,
            rows: rows as u32,
            l_skip: l_skip as u32,
            out_at: at as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(rows.div_ceil(1 << l_skip.max(WORKGROUP_LOG))));
    }
}
