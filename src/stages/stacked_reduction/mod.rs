//! The stacked opening reduction: from openings of the traces' columns, and of their rotations, to openings of the stacked columns.
//!
//! # Part 1: the protocol (upstream `prover/stacked_reduction.rs`)
//!
//! Constraint proving left claims about every column T of every trace at a point r = (r_0, r_1, ..): `T(r)` and, for AIRs that look at
//! the next row, `T_rot(r)`. Columns are slices of the stacked columns q: a column of height 2^h is the slice of q with upper bits b
//! (a *view*). With D the skip domain of N = 2^l_skip points, n = h - l_skip and ñ = max(n, 0), the claims of a view are
//!
//! ```text
//! sum over (z, x) in D x H_ñ of q(z, x, b) in_{D,n}(z) eq_{D_n}((z, x), r)       and with kappa_rot in the place of eq
//! ```
//!
//! where in_{D,n} selects the strided points of D on which a column shorter than N lies. Lambda batches the claims of all views (view v
//! weighs lambda^(2v), its rotation lambda^(2v+1)), and a sumcheck over (Z, x_1, .., x_n_stack) reduces them to q_c(u) for every stacked
//! column c: s_0 is sent by coefficients (degree 2 (N - 1)), the other rounds by evaluations at 1 and 2, then all q_c(u).
//!
//! # Part 2: this implementation
//!
//! **Kinds and groups.** The weight of a view depends on its height and its rotation only. Views that share both are a *group* g, and
//! the sumcheck sees only their combination Q_g = sum_v lambda^(2v) q_v, one extension vector per group, because
//! lambda^(2v+1) = lambda lambda^(2v). Moreover
//!
//! ```text
//! kappa_rot((Z, x), r) = eq_D(Z, omega r_0) eq(x, r) + C eq_D(Z, 1) (eq(rot^-1 x, r) - eq(x, r)),    C = eq_D(omega r_0, 1)
//! ```
//!
//! so the weight of a group is w(Z) eq(x, r) + b (sum_j Z^j) eq(rot^-1 x, r), where w and b = lambda C / N are the same for all
//! heights >= N. So there are at most 2 (l_skip + 1) *kinds* of weights (`weights.rs`).
//!
//! **Round 0.** s_0 = sum over kinds of w A + b (sum_j Z^j) G, where A(z) = sum_g sum_x Q_g(z, x) eq(x, r) and G the same with
//! eq(rot^-1 x, r). A and G are N numbers each, so one pass over the Q_g, a DFT of N points and a product of polynomials give s_0.
//!
//! **Cube rounds.** At u_0, Q_g becomes F_g of 2^ñ elements, and its weight K_g = alpha eq(x, r) + beta eq(rot^-1 x, r). All F_g and K_g,
//! concatenated by falling ñ, are two vectors on which every round is the plain sumcheck of a product; after round ñ_g a group is down to
//! one element and drops off the end.
//!
//! **Nodes.** Beyond round ñ a view's slice is one element y_v = q_v(u_0, .., u_ñ) of its stacked column, with the weight
//! lambda^(2v) K_g. From there on the stacked column itself folds, and the weights with it: eq((u, X), b) over the bits of b is what
//! folding the vector of weights computes. So values and weights of all fully folded cells, the *nodes*, are again two vectors under the
//! sumcheck of a product. Each level adds the views of its ñ. The last level's values are q_c(u).
//!
//! **Passes.** The cells are read twice: once for the Q_g, once for the y_v, each an opening of a column at (u_0, .., u_ñ) as a dot
//! product. A pass moves 4 bytes and does four wide products and one reduction a cell. In keccakf (2^21 x 42) that is 352 MB a pass: a
//! floor of 0.1 ms on an H200 and 6 ms on an M1, by bandwidth; everything else is below 1% of that in work, but takes about five
//! dispatches a round. Dispatches: one per pass for each trace (or segment of it), some per group, height and round; none per column.
//!
//! **Memory.** 16 bytes a row for each group (piece by piece where a binding is small) until u_0, then that over N, and 32 bytes a view.
//!
//! Nothing waits: challenges are read from the transcript's tape, and the proof's values from it after the next sync.

mod plan;
#[cfg(test)]
pub(crate) mod tests;
mod weights;

use openvm_stark_backend::{proof::StackingProof, SystemParams};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, EF};
use plan::{CubeLevel, ReductionPlan, ViewGroup, ViewRun};

use super::{
    pcs::StackedMatrix,
    transcript::{Challenge, KernelStep, Observed, Transcript},
    ProofShape,
};
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Recorder},
    kernels::{
        stacked_reduction::{
            round_step, skip_domain, CellDots, Combination, Combinations, CombinedPiece, CubeEqTables, CubeRound,
            CubeTables, CubeWeights, FoldCombined, LambdaPowers, NodeRound, NodeTables, Point, Polynomial0, RecordSums,
            Round0Tables, RowWeights, ViewSums, PARTIAL_ELEMENTS, RECORD_ELEMENTS,
        },
        MAX_L_SKIP,
    },
};

type SC = BabyBearPoseidon2Config;

/// Bytes that the stage holds at most: the combined vectors of all groups, of which there are fewer than columns and two for a height, and
/// half as much again while they are folded.
pub fn peak_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    (16 * shape.cells()).min(64 << params.log_stacked_height()) / 2 * 3
}

/// A recorded reduction: where its messages will be on the transcript's tape.
pub struct StackedReduction {
    s_0: Observed<EF>,
    rounds: Vec<Observed<EF>>,
    openings: Observed<EF>,
    widths: Vec<usize>,
    /// The point u of the stacked openings, `1 + n_stack` challenges.
    pub u: Vec<Challenge>,
}

impl StackedReduction {
    /// Records the whole stage without waiting (parts of the recording may be submitted on the way, which frees memory).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when layouts, rotations and `r` do not fit each other, [`Error::Unsupported`] for `l_skip` above 9, and
    /// as [`crate::gpu::Gpu::alloc`].
    #[tracing::instrument(name = "prover.openings.stacked_reduction", level = "info", skip_all)]
    pub fn record(
        tx: &mut Transcript<'_>,
        rec: &mut Recorder,
        params: &SystemParams,
        stacked: &[&StackedMatrix],
        need_rot_per_commit: &[Vec<bool>],
        r: &[EF],
    ) -> Result<Self> {
        if params.l_skip > MAX_L_SKIP {
            return Err(Error::Unsupported(format!("l_skip {} above {MAX_L_SKIP}", params.l_skip)));
        }
        let plan = ReductionPlan::new(params.l_skip, params.n_stack, stacked, need_rot_per_commit)?;
        if r.len() <= plan.max_n_lift() {
            return Err(Error::InvalidInput(format!(
                "r has {} coordinates, {} needed",
                r.len(),
                1 + plan.max_n_lift()
            )));
        }
        ReductionProver::new(tx, rec, &plan)?.run(r)
    }

    /// The proof, once the transcript was synchronised.
    pub fn proof(&self, tx: &Transcript<'_>) -> StackingProof<SC> {
        let round = |evals: &Observed<EF>| tx.values(evals).try_into().expect("evaluations at 1 and 2");
        let mut openings = tx.values(&self.openings).into_iter();
        StackingProof {
            univariate_round_coeffs: tx.values(&self.s_0),
            sumcheck_round_polys: self.rounds.iter().map(round).collect(),
            stacking_openings: self.widths.iter().map(|width| openings.by_ref().take(*width).collect()).collect(),
        }
    }
}

/// The combined vectors Q_g.
struct Combined {
    /// Of the highest groups, in pieces that fit a binding; index by group.
    high: Vec<Vec<DeviceBuffer<EF>>>,
    /// Of the others one after the other, each with room for at least 2^l_skip elements, as their cubes lie in the concatenation.
    low: DeviceBuffer<EF>,
}

impl Combined {
    /// The pieces of a group: buffer, first element, elements.
    fn pieces(&self, plan: &ReductionPlan, g: usize) -> Vec<(&DeviceBuffer<EF>, usize, usize)> {
        match self.high.get(g) {
            Some(pieces) => pieces.iter().map(|piece| (piece, 0, piece.len())).collect(),
            None => vec![(&self.low, plan.low_at(self.high.len(), g), 1 << plan.groups[g].log_height)],
        }
    }
}

struct ReductionProver<'a, 'h> {
    tx: &'a mut Transcript<'h>,
    rec: &'a mut Recorder,
    plan: &'a ReductionPlan,
    plan_words: DeviceBuffer<u32>,
    lambda: Challenge,
    lambda_powers: LambdaPowers,
    /// u_0, u_1, .. as far as they are sampled.
    u: Vec<Challenge>,
    rounds: Vec<Observed<EF>>,
}

impl<'a, 'h> ReductionProver<'a, 'h> {
    fn new(tx: &'a mut Transcript<'h>, rec: &'a mut Recorder, plan: &'a ReductionPlan) -> Result<Self> {
        // uploads outside of the recording, here and below: inside they would end its compute pass
        let plan_words = rec.gpu().upload(&plan.words, "plan of the stacked reduction")?;
        let lambda = tx.sample_ext(rec)?;
        let lambda_powers = LambdaPowers::new(rec, &lambda, plan.views)?;
        Ok(Self { tx, rec, plan, plan_words, lambda, lambda_powers, u: vec![], rounds: vec![] })
    }

    fn run(mut self, r: &[EF]) -> Result<StackedReduction> {
        let combined = self.combine()?;
        let eq = self.eq_tables(r)?;
        let (s_0, point) = self.round_0(&combined, &eq, r[0])?;
        let cube = self.fold_ple(&combined, &eq, &point)?;
        // the combined vectors are the stage's largest memory
        drop(combined);
        self.rec.submit()?;
        let openings = self.mle_rounds(cube, &point)?;
        Ok(StackedReduction { s_0, rounds: self.rounds, openings, widths: self.plan.widths.clone(), u: self.u })
    }

    /// Rows of a piece of a combined vector.
    fn piece_rows(&self) -> usize {
        self.rec.gpu().capabilities().segment_elements(4).max(1 << self.plan.l_skip)
    }

    /// Q_g = sum_v lambda^(2v) q_v for each group: the first pass over the cells.
    fn combine(&mut self) -> Result<Combined> {
        let (plan, gpu, lambda) = (self.plan, self.rec.gpu().clone(), &self.lambda_powers);
        let first_low = plan.first_low(self.piece_rows());
        let mut high = vec![];
        for (g, group) in plan.groups[..first_low].iter().enumerate() {
            let rows = 1usize << group.log_height;
            let piece_rows = self.piece_rows().min(rows);
            let mut pieces = vec![];
            for start in (0..rows).step_by(piece_rows) {
                let combined = &gpu.alloc(piece_rows, "combined columns")?;
                let run = |run: &'a ViewRun| Combination { run: &run.columns, rows: start..start + piece_rows, at: 0 };
                let runs = &plan.runs_of(g).iter().map(run).collect::<Vec<_>>();
                Combinations { lambda, runs, combined }.record(self.rec)?;
                pieces.push(combined.clone());
            }
            high.push(pieces);
        }
        let low = gpu.alloc(plan.low_at(first_low, plan.groups.len()), "combined columns")?;
        let of_group = |g: usize| {
            let (rows, at) = (0..1 << plan.groups[g].log_height, plan.low_at(first_low, g));
            let run = move |run: &'a ViewRun| Combination { run: &run.columns, rows: rows.clone(), at };
            plan.runs_of(g).iter().map(run)
        };
        let runs = &(first_low..plan.groups.len()).flat_map(of_group).collect::<Vec<_>>();
        Combinations { lambda, runs, combined: &low }.record(self.rec)?;
        Ok(Combined { high, low })
    }

    fn eq_tables(&mut self, r: &[EF]) -> Result<CubeEqTables> {
        let r = self.rec.gpu().upload(r, "r")?;
        let n = self.plan.max_n_lift();
        let low_bits = RECORD_ELEMENTS.min(self.piece_rows()).ilog2() as usize - self.plan.l_skip;
        let low_bits = low_bits.min(n);
        CubeEqTables::new(self.rec, &r, low_bits, n - low_bits)
    }

    /// s_0, u_0 and what it determines.
    fn round_0(&mut self, combined: &Combined, eq: &CubeEqTables, r_0: EF) -> Result<(Observed<EF>, Point)> {
        let plan = self.plan;
        let skip_domain = skip_domain(self.rec.gpu(), plan.l_skip)?;
        let round0 = Round0Tables { l_skip: plan.l_skip, kinds: plan.kinds.len(), skip_domain: &skip_domain };
        let (records, kind_words) = self.records(&round0, combined, eq)?;
        let kind_words = self.rec.gpu().upload(&kind_words, "kinds of views")?;
        let constants = weights::kind_constants(plan.l_skip, r_0, &plan.kinds);
        let constants = self.rec.gpu().upload(&constants, "weights of kinds")?;
        let (round0, lambda, plan) = (&round0, &self.lambda, &kind_words);
        let polynomial = Polynomial0 { round0, lambda, plan, records: &records, constants: &constants };
        let (s_0, kind_weights) = polynomial.record(self.rec)?;
        let (s_0, u_0) = self.tx.observe_then_sample(self.rec, &s_0, 0..s_0.len())?;
        let point = Point::new(self.rec, round0, &kind_weights, &u_0)?;
        self.u.push(u_0);
        Ok((s_0, point))
    }

    /// The sums of all combined vectors over the hypercube, kind by kind, and per kind: first record, records, log_z.
    fn records(
        &mut self,
        round0: &Round0Tables<'_>,
        combined: &Combined,
        eq: &CubeEqTables,
    ) -> Result<(DeviceBuffer<EF>, Vec<u32>)> {
        let plan = self.plan;
        let (mut record_at, mut words, mut pieces) = (0, vec![], vec![]);
        for (k, kind) in plan.kinds.iter().enumerate() {
            let first = record_at;
            for (g, group) in plan.groups.iter().enumerate().filter(|(_, group)| group.kind == k) {
                let ViewGroup { log_height, rot, .. } = *group;
                let mut start = 0;
                for (combined, at, len) in combined.pieces(plan, g) {
                    pieces.push(CombinedPiece { combined, at, start, len, log_height, rot, record_at });
                    record_at += round0.records_of(eq, log_height, len);
                    start += len;
                }
            }
            words.extend([first, record_at - first, kind.log_z].map(|w| w as u32));
        }
        let records = self.rec.gpu().alloc(record_at << (plan.l_skip + 1), "records of round 0")?;
        RecordSums { round0, eq, pieces: &pieces, records: &records }.record(self.rec)?;
        Ok((records, words))
    }

    /// F_g and K_g of all groups at u_0, concatenated.
    fn fold_ple(&mut self, combined: &Combined, eq: &CubeEqTables, point: &Point) -> Result<CubeTables> {
        let plan = self.plan;
        let cube = CubeTables::alloc(self.rec.gpu(), plan.cube_len())?;
        let folded = &cube.values;
        // without a variable left there is no round that reads the value
        for (group, pieces) in plan.groups.iter().zip(&combined.high).filter(|(group, _)| group.n_lift > 0) {
            for (i, combined) in pieces.iter().enumerate() {
                let (rows, at) = (combined.len(), group.cube_at + ((i * combined.len()) >> plan.l_skip));
                FoldCombined { point, combined, rows, folded, at }.record(self.rec);
            }
        }
        let (first_low, with_variables) = (combined.high.len(), plan.groups.partition_point(|group| group.n_lift > 0));
        if first_low < with_variables {
            let (rows, at) = (plan.low_at(first_low, with_variables), plan.groups[first_low].cube_at);
            FoldCombined { point, combined: &combined.low, rows, folded, at }.record(self.rec);
        }
        let (plan_at, groups, weights) = (plan.groups_at, plan.groups.len(), &cube.weights);
        CubeWeights { eq, point, plan: &self.plan_words, plan_at, groups, weights }.record(self.rec);
        Ok(cube)
    }

    /// Rounds 1 to n_stack and the openings, which are observed.
    fn mle_rounds(&mut self, cube: CubeTables, point: &Point) -> Result<Observed<EF>> {
        let plan = self.plan;
        let gpu = self.rec.gpu().clone();
        let second = plan.levels.get(1).map_or(1, |level| level.cube_len.max(1));
        let cubes = [cube, CubeTables::alloc(&gpu, second)?];
        let nodes = [NodeTables::alloc(&gpu, plan.max_nodes())?, NodeTables::alloc(&gpu, plan.max_nodes())?];
        let partials = gpu.alloc(PARTIAL_ELEMENTS, "partial sums of a round")?;
        for (at, level) in plan.levels.iter().enumerate() {
            let last = at == plan.n_stack;
            // the weights of the last level are of no use
            let cube_sums = if last { 0 } else { self.cube_round(at, level, &cubes, &partials) };
            self.open_views(at, level, point, &cubes[at % 2], &nodes[at % 2])?;
            let node_sums = self.node_round(at, level, &nodes, (&partials, cube_sums));
            if !last {
                self.finish_round(&partials, cube_sums + node_sums)?;
            }
        }
        let width = plan.widths.iter().sum();
        debug_assert_eq!(plan.levels[plan.n_stack].nodes, width, "the last nodes are the stacked columns");
        self.tx.observe(self.rec, &nodes[plan.n_stack % 2].values, 0..width)
    }

    fn cube_round(
        &mut self,
        at: usize,
        level: &CubeLevel,
        cubes: &[CubeTables; 2],
        partials: &DeviceBuffer<EF>,
    ) -> usize {
        // the first round finds its tables made
        let (tables, next) = if at == 0 { (0, 1) } else { ((at - 1) % 2, at % 2) };
        let round = CubeRound {
            tables: &cubes[tables],
            next: &cubes[next],
            len: if at == 0 { level.cube_paired } else { level.cube_len },
            paired: level.cube_paired,
            fold: (at > 0).then(|| &self.u[at]),
            partials,
        };
        round.record(self.rec)
    }

    /// The openings of the views that end at this level: the second pass over the cells.
    fn open_views(
        &mut self,
        at: usize,
        level: &CubeLevel,
        point: &Point,
        cube: &CubeTables,
        nodes: &NodeTables,
    ) -> Result<()> {
        if level.runs.is_empty() {
            return Ok(());
        }
        let weights = RowWeights::new(self.rec, &self.u[1..=at], &point.values, self.plan.l_skip)?;
        let log_blocks = weights.log_blocks();
        let partials = self.rec.gpu().alloc(level.slots << log_blocks, "partial openings")?;
        let runs: Vec<_> = self.plan.runs[level.runs.clone()].iter().map(|run| &run.columns).collect();
        CellDots { weights: &weights, runs: &runs, slot: 0, partials: &partials }.record(self.rec)?;
        let sums = ViewSums {
            plan: &self.plan_words,
            plan_at: level.runs_at,
            runs: level.runs.len(),
            slots: level.slots,
            log_blocks,
            lambda: &self.lambda_powers,
            cube_weights: &cube.weights,
            partials: &partials,
            nodes,
        };
        sums.record(self.rec);
        Ok(())
    }

    fn node_round(
        &mut self,
        at: usize,
        level: &CubeLevel,
        nodes: &[NodeTables; 2],
        (partials, partial_at): (&DeviceBuffer<EF>, usize),
    ) -> usize {
        let round = NodeRound {
            plan: &self.plan_words,
            plan_at: level.commits_at,
            commits: self.plan.widths.len(),
            nodes: level.nodes,
            source: &nodes[(at + 1) % 2],
            next: &nodes[at % 2],
            u: &self.u[at],
            sum: at < self.plan.n_stack,
            partials,
            partial_at,
        };
        round.record(self.rec)
    }

    /// Observes a round's evaluations, which `pairs` partial sums add up to, and samples its challenge.
    fn finish_round(&mut self, partials: &DeviceBuffer<EF>, pairs: usize) -> Result<()> {
        let steps = self.tx.in_kernel(&[KernelStep { observe: 2, sample: 1 }])?;
        round_step(self.rec, partials, pairs, &steps.sponge)?;
        self.rounds.push(steps.observed[0].clone());
        self.u.push(steps.sampled[0][0].clone());
        Ok(())
    }
}
