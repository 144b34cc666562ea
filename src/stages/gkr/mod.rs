//! The fractional sumcheck (LogUp-GKR): that the fractions of the leaves sum to zero.
//!
//! # The protocol
//!
//! Level `k` of a binary tree has `2^k` fractions `p/q` in projective form; node `i` is the sum of the nodes `2 i` and `2 i + 1` of the
//! level below: `p = p_0 q_1 + p_1 q_0`, `q = q_0 q_1`. The prover observes `q` of the root (`p` must be zero) and the two fractions of
//! level 1, and samples `mu`. Layer `j = 1, 2, ..` reduces a claim about level `j` at the point `xi` of `j` coordinates to one about level
//! `j + 1`: with `lambda` sampled, a sumcheck over
//!
//! ```text
//! sum_x eq(xi, x) (p_0 q_1 + p_1 q_0 + lambda q_0 q_1)(x),       p_0(x) = numerator 2 x, p_1(x) = numerator 2 x + 1, ..
//! ```
//!
//! gives a point `rho` (its round polynomials are observed at 1, 2, 3); the four values there are observed, `mu` is sampled, and the next
//! point is `(mu, rho)`. Upstream: `prover::fractional_sumcheck_gkr::fractional_sumcheck`.
//!
//! # On the device
//!
//! All of it is recorded without a wait. Levels 0 ..= 9 live in a heap, and the layers up to 8 variables are proved from it by one
//! workgroup in one dispatch. A larger layer takes its variables two at a time: one pass over the table gives the sums of both round
//! polynomials on the grid {0, 1, inf}^2, a single workgroup makes them into two rounds (with the transcript), the next pass folds both
//! variables and sums the following two; from 10 variables on one dispatch does the rest. With `m` folding passes a layer is `2 m + 3`
//! dispatches; 2^24 leaves take 161 in all, tree included.
//!
//! Memory: the two levels above the leaves are never stored, their tables are summed from the leaves when they are read (which moves as
//! many bytes as storing them would); the stored levels take a quarter of the leaves' memory and are freed one by one; the first fold
//! leaves a quarter of a table. So the peak is 1.25 times the leaves.
//!
//! Padding: leaves that are not stored are 0 / alpha. They are never touched; nodes above them are 0 / alpha^(2^i), and a round's sums get
//! their part from the sum of the eq weights of all other points.
//!
//! Work for `N` leaves: about 8 N + 7 N extension products and 250 N bytes. On an H200 (260 G products/s, 4.2 TB/s) 2^24 leaves
//! have a floor of 1 ms for either; the 276 sequential rounds add about 6 us each.

mod proof;
#[cfg(test)]
mod tests;
mod tree;

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

pub use crate::kernels::gkr::Fractions;
pub use proof::{FractionalSumcheck, FractionalSumcheckProof};

use self::{proof::LayerProof, tree::FractionTree};
use crate::{
    error::{Error, Result},
    gpu::{Recorder, Ticket},
    kernels::gkr::{EqTables, GkrState, Heap, PartialSums, Rounds, SumPass},
    stages::{
        transcript::{Challenge, KernelStep, Observed, Transcript},
        ProofShape,
    },
};

/// Bytes that the stage holds at most: the leaves, whose numerators are of the base field, and the stored levels or a first folded table,
/// with a fourth as many fractions of the extension.
pub fn peak_bytes(shape: &ProofShape) -> u64 {
    leaf_bytes(shape) + 8 * shape.interactions
}

/// Bytes of the leaves.
pub fn leaf_bytes(shape: &ProofShape) -> u64 {
    20 * shape.interactions
}

/// Levels of at least this many fractions end a submission, so that their memory serves what follows.
const SUBMIT_LOG_LEN: usize = 16;

/// A round of the sumcheck: three values observed, a challenge sampled.
const ROUND: KernelStep = KernelStep { observe: 3, sample: 1 };

/// Proves the sum of `leaves`, whose memory is given back on the way. Nothing waits; the proof is known after the next
/// [`Transcript::sync`].
///
/// # Errors
///
/// [`Error::InvalidInput`] for leaves with padding, a single leaf (upstream never has fewer than two) or more than 2^32; as
/// [`crate::gpu::Gpu::alloc`].
pub fn fractional_sumcheck(
    tx: &mut Transcript<'_>,
    rec: &mut Recorder,
    leaves: Fractions,
) -> Result<FractionalSumcheck> {
    if leaves.real_len < leaves.len() {
        return Err(Error::InvalidInput("leaves with padding, but no alpha for it".into()));
    }
    check_levels(&leaves)?;
    let state = GkrState::alloc(rec.gpu(), leaves.log_len)?;
    prove(tx, rec, leaves, state)
}

/// As [`fractional_sumcheck`], with the leaves from `real_len` on being 0 / `alpha` without being stored or read.
///
/// # Errors
///
/// As [`fractional_sumcheck`], but padding is welcome.
pub fn padded_fractional_sumcheck(
    tx: &mut Transcript<'_>,
    rec: &mut Recorder,
    leaves: Fractions,
    alpha: &Challenge,
) -> Result<FractionalSumcheck> {
    check_levels(&leaves)?;
    let state = GkrState::padded(rec, leaves.log_len, alpha)?;
    prove(tx, rec, leaves, state)
}

fn check_levels(leaves: &Fractions) -> Result<()> {
    let levels = leaves.log_len;
    if !(1..=GkrState::MAX_VARS).contains(&levels) {
        return Err(Error::InvalidInput(format!("a fractional sumcheck over 2^{levels} leaves")));
    }
    Ok(())
}

fn prove(
    tx: &mut Transcript<'_>,
    rec: &mut Recorder,
    leaves: Fractions,
    state: GkrState,
) -> Result<FractionalSumcheck> {
    let levels = leaves.log_len;
    let tree = FractionTree::build(rec, leaves, &state)?;
    let rounds = Rounds { heap: tree.heap.clone(), state };
    let mut prover = GkrProver { tx, rec, tree, levels, rounds };
    let (root, mut layers) = prover.small_layers()?;
    let root_numerator = prover.root_numerator();
    for layer in layers.len()..levels {
        layers.push(prover.layer(layer)?);
    }
    Ok(FractionalSumcheck { root_numerator, root, layers })
}

struct GkrProver<'a, 'b> {
    tx: &'a mut Transcript<'b>,
    rec: &'a mut Recorder,
    tree: FractionTree,
    levels: usize,
    rounds: Rounds,
}

impl GkrProver<'_, '_> {
    /// The root's denominator and all layers that are proved from the heap, layer 0 (the claims about level 1, no rounds) first.
    fn small_layers(&mut self) -> Result<(Observed<EF>, Vec<LayerProof>)> {
        let last_layer = Rounds::SMALL_LAYER.min(self.levels - 1);
        let root = [KernelStep { observe: 1, sample: 0 }];
        let steps: Vec<_> = (0..=last_layer).flat_map(|layer| self.layer_steps(layer, 0)).collect();
        let steps = self.tx.in_kernel(&[&root, steps.as_slice()].concat())?;
        self.rounds.start(self.rec, last_layer, &steps.sponge)?;
        let mut at = 1;
        let layers = (0..=last_layer).map(|layer| {
            let range = at..at + layer + 1;
            at = range.end;
            LayerProof::new(&steps, range)
        });
        Ok((steps.observed[0].clone(), layers.collect()))
    }

    fn root_numerator(&mut self) -> Ticket<EF> {
        let at = Heap::ROOT_NUMERATOR;
        self.rec.download_range(&self.tree.heap.nodes, at..at + 1)
    }

    /// A layer of more variables than the heap serves, two variables at a time.
    fn layer(&mut self, layer: usize) -> Result<LayerProof> {
        let mut proof = LayerProof::default();
        let large = layer + 1 >= SUBMIT_LOG_LEN;
        if large {
            self.rec.submit()?;
        }
        let eq = EqTables::build(self.rec, &self.rounds.state, layer)?;
        let mut table = self.tree.take_level(layer + 1);
        let mut first = 0;
        let mut sums = SumPass { table: &table, first, eq: &eq, state: &self.rounds.state }.sum(self.rec)?;
        loop {
            proof.append(self.window(layer, first, &sums)?);
            first += 2;
            let pass = SumPass { table: &table, first, eq: &eq, state: &self.rounds.state };
            (table, sums) = pass.fold_and_sum(self.rec)?;
            if large && first == 2 && layer + 1 == self.levels {
                // the leaves are read for the last time
                self.rec.submit()?;
            }
            if table.vars() <= Rounds::TAIL {
                break;
            }
        }
        let steps = self.tx.in_kernel(&self.layer_steps(layer, first))?;
        self.rounds.tail(self.rec, (layer, first), (&sums, &table), &steps.sponge)?;
        proof.append(LayerProof::new(&steps, 0..steps.observed.len()));
        Ok(proof)
    }

    /// The rounds of variables `first` and `first + 1`.
    fn window(&mut self, layer: usize, first: usize, sums: &PartialSums) -> Result<LayerProof> {
        let steps = self.tx.in_kernel(&[ROUND; 2])?;
        self.rounds.window(self.rec, (layer, first), sums, &steps.sponge)?;
        Ok(LayerProof::rounds(&steps))
    }

    /// The rounds of a layer from variable `first` on, then its claims, mu, and the next layer's lambda if there is one.
    fn layer_steps(&self, layer: usize, first: usize) -> Vec<KernelStep> {
        let sample = if layer + 1 < self.levels { 2 } else { 1 };
        let mut steps = vec![ROUND; layer - first];
        steps.push(KernelStep { observe: 4, sample });
        steps
    }
}
