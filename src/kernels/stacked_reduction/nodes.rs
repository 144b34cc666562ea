//! The sumcheck over nodes: views that are fully folded, and what becomes of them inside their stacked columns.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{round_workgroups, LambdaPowers, PARTIAL_ELEMENTS};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::transcript::Challenge,
};

kernel! {
    /// Openings of views from their partial sums, with their weights, as nodes.
    struct ViewSumsKernel("stacked_reduction/view_sums.wgsl", workgroup = 64) {
        buffers {
            read plan: u32, read partials: EF, read lambda_powers: EF, read weights: EF,
            write node_values: EF, write node_weights: EF,
        }
        params { slots, log_blocks, team_bits, runs, plan_at }
    }
}

kernel! {
    /// Fold and evaluate.
    struct NodeRoundKernel("stacked_reduction/node_round.wgsl", workgroup = 256) {
        buffers {
            read tape: F, read plan: u32, read source_values: EF, read source_weights: EF,
            write node_values: EF, write node_weights: EF, write partials: EF,
        }
        params { nodes, commits, plan_at, u_word, paired, workgroups, partial_at }
    }
}

/// Values and weights of the nodes of one level.
#[derive(Clone)]
pub struct NodeTables {
    pub values: DeviceBuffer<EF>,
    pub weights: DeviceBuffer<EF>,
}

impl NodeTables {
    /// Room for `len` nodes.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn alloc(gpu: &Gpu, len: usize) -> Result<Self> {
        Ok(Self { values: gpu.alloc(len, "node values")?, weights: gpu.alloc(len, "node weights")? })
    }
}

/// Turns the partial sums of a level's openings into nodes.
pub struct ViewSums<'a> {
    /// Four words a run from `plan_at` on: first slot, first node, first view, place of the group's weight in `cube_weights`.
    pub plan: &'a DeviceBuffer<u32>,
    pub plan_at: usize,
    pub runs: usize,
    pub slots: usize,
    pub log_blocks: usize,
    pub lambda: &'a LambdaPowers,
    pub cube_weights: &'a DeviceBuffer<EF>,
    pub partials: &'a DeviceBuffer<EF>,
    pub nodes: &'a NodeTables,
}

impl ViewSums<'_> {
    /// Adds the partial sums of all slots.
    pub fn record(&self, rec: &mut Recorder) {
        assert!(self.slots << self.log_blocks <= self.partials.len(), "partial sums of views");
        assert!(
            self.plan_at + 4 * self.runs <= self.plan.len() && self.slots <= self.nodes.values.len(),
            "runs of a level"
        );
        let team_bits = self.log_blocks.min(6);
        let kernel = ViewSumsKernel {
            plan: self.plan,
            partials: self.partials,
            lambda_powers: &self.lambda.powers,
            weights: self.cube_weights,
            node_values: &self.nodes.values,
            node_weights: &self.nodes.weights,
            slots: self.slots as u32,
            log_blocks: self.log_blocks as u32,
            team_bits: team_bits as u32,
            runs: self.runs as u32,
            plan_at: self.plan_at as u32,
        };
        rec.dispatch(&kernel, Grid::threads(self.slots << team_bits));
    }
}

/// One round over the nodes of a level; `source` is the level before.
pub struct NodeRound<'a> {
    /// Four words a commitment from `plan_at` on: first node, end of the views, end of the folds, first source of the folds.
    pub plan: &'a DeviceBuffer<u32>,
    pub plan_at: usize,
    pub commits: usize,
    pub nodes: usize,
    pub source: &'a NodeTables,
    pub next: &'a NodeTables,
    /// The challenge to fold with.
    pub u: &'a Challenge,
    /// Whether to evaluate; not on the last level.
    pub sum: bool,
    /// At least [`PARTIAL_ELEMENTS`], of which the pairs from `partial_at` on are written.
    pub partials: &'a DeviceBuffer<EF>,
    pub partial_at: usize,
}

impl NodeRound<'_> {
    /// Folds into `next` and leaves partial sums; returns how many pairs of them.
    pub fn record(&self, rec: &mut Recorder) -> usize {
        let Self { partials, partial_at, .. } = *self;
        if self.nodes == 0 {
            return 0;
        }
        assert!(!self.sum || self.nodes.is_multiple_of(2), "nodes come in pairs");
        assert!(self.nodes <= self.next.values.len() && self.plan_at + 4 * self.commits <= self.plan.len(), "nodes");
        let workgroups = round_workgroups(self.nodes.div_ceil(2));
        assert!(2 * (partial_at + workgroups) <= partials.len() && partials.len() >= PARTIAL_ELEMENTS, "partial sums");
        let kernel = NodeRoundKernel {
            tape: self.u.tape(),
            plan: self.plan,
            source_values: &self.source.values,
            source_weights: &self.source.weights,
            node_values: &self.next.values,
            node_weights: &self.next.weights,
            partials,
            nodes: self.nodes as u32,
            commits: self.commits as u32,
            plan_at: self.plan_at as u32,
            u_word: self.u.word(),
            paired: if self.sum { self.nodes as u32 } else { 0 },
            workgroups: workgroups as u32,
            partial_at: partial_at as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(workgroups));
        workgroups
    }
}
