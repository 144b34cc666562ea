//! The RAP constraints: zerocheck and logup of all AIRs, reduced to claims about the columns at one point.
//!
//! # Part 1: the protocol (upstream `prove_zerocheck_and_logup`)
//!
//! Each trace `T` is a table on `D x {0,1}^n`, `D` the skip domain of `2^l_skip` elements: a polynomial of degree `< 2^l_skip` in `Z` and
//! linear in `n` more variables. (Traces lower than `D` are repeated; their *lift* has `n = 0`.)
//!
//! 1. After proof of work and the challenges `alpha`, `beta`, every interaction of every row is a fraction; their sum is proved zero by the
//!    fractional sumcheck, which leaves a claim at a point `xi`.
//! 2. One sumcheck proves that claim and, batched by `lambda`, that all constraints vanish. Its round 0 is over `Z`: for each AIR the
//!    polynomials `s'_0` of numerator, denominator and constraints, summed over the hypercube. Logup's sums over `D` are sent, and `mu`
//!    batches everything to `s_0`. The challenge `r_0` folds `Z` away.
//! 3. Each further round binds one variable of the hypercube at `r_j`. AIRs of fewer variables are done earlier: from then on they
//!    contribute a constant times the product of the later challenges.
//! 4. The columns' (and rotated columns') values at `r` are the openings.
//!
//! # Part 2: this implementation
//!
//! Two waits: after round 0 the host interpolates a few hundred coefficients per AIR; all else happens on the device, whose transcript
//! provides the challenges. Columns reach the constraint evaluators in *tiles* of bounded size (`scratch`): rows of the trace for the
//! fractions (`leaves`), hypercube points on cosets for round 0 (`round0`), lines over the extension for the MLE rounds (`mle`), the
//! last of which are the only columns that are stored whole. The rounds' own algebra is one small kernel a round (`wgsl/rap/batch_round.wgsl`).

mod algebra;
mod arena;
mod input;
mod leaves;
mod listed_leaves;
mod listed_round0;
mod listing;
mod mle;
mod openings;
mod round0;
mod scratch;
#[cfg(test)]
mod tests;

use openvm_stark_backend::{
    proof::{BatchConstraintProof, GkrProof},
    SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, D_EF, EF, F};
use p3_field::PrimeCharacteristicRing;
use tracing::info_span;

use algebra::Round0Batch;
pub use input::{AirInput, AirTraces, RapInput, RapParams};
use leaves::{interaction_leaves, LeafArgs};
use listing::Listing;
use mle::{MleArgs, MleRounds};
use openings::{column_openings, proof_openings};
use round0::{evaluate_round0, WeightArgs, Weights};

use crate::{
    error::{Error, Result},
    gpu::{Completed, DeviceBuffer, Gpu, Recorder},
    kernels::{
        rap::{begin_rounds, combine, lagrange_basis, powers, BeginRounds, RoundState, TilePlanner, TileSource},
        transcript::gather,
    },
    stages::{
        gkr::{self, padded_fractional_sumcheck, FractionalSumcheck, FractionalSumcheckProof},
        transcript::{Challenge, Observed, Transcript},
        ProofShape,
    },
};

type SC = BabyBearPoseidon2Config;

/// Bytes that the stage holds at most beside the traces: its leaves and the fractional sumcheck, round 0 or the MLE rounds.
pub fn peak_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    let logup = leaves::peak_bytes(shape).max(gkr::peak_bytes(shape));
    logup.max(round0::peak_bytes(params, shape)).max(mle::peak_bytes(params, shape))
}

/// Proves that the traces satisfy all constraints and that the interactions balance, given the openings at the point that is returned.
///
/// Equal to upstream's `prove_zerocheck_and_logup` with a transcript that takes the smallest proof-of-work witness.
///
/// `meanwhile` may submit work that does not depend on this stage: the device runs it behind the last round, while the host hashes the column
/// openings.
///
/// # Errors
///
/// [`Error::UnbalancedInteractions`]; what the device reports.
pub fn prove_rap(
    tx: &mut Transcript<'_>,
    input: &RapInput<'_>,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<(GkrProof<SC>, BatchConstraintProof<SC>, Vec<EF>)> {
    let gpu = tx.gpu().clone();
    let mut rec = gpu.recorder("rap constraints");
    let (tiles, logup) = info_span!("prover.rap_constraints.logup_gkr").in_scope(|| {
        let mut logup = Logup::challenges(tx, &mut rec, input)?;
        // the device searches for the witness while the host plans
        rec.submit()?;
        let tiles = TileSources::new(&gpu, input)?;
        logup.prove(tx, &mut rec, input, &tiles)?;
        Ok::<_, Error>((tiles, logup))
    })?;
    let round0 =
        info_span!("prover.rap_constraints.round0").in_scope(|| Round0::prove(tx, rec, input, &tiles, logup))?;
    info_span!("prover.rap_constraints.mle_rounds").in_scope(|| prove_mle_rounds(tx, input, &tiles, round0, meanwhile))
}

/// Where the columns of all tiles come from, by AIR.
struct TileSources {
    gkr_input: Vec<TileSource>,
    round0: Vec<TileSource>,
    mle: Vec<TileSource>,
    /// Programs and constants of all AIRs.
    listing: Listing,
}

impl TileSources {
    fn new(gpu: &Gpu, input: &RapInput<'_>) -> Result<Self> {
        let mut planner = TilePlanner::new(gpu)?;
        for air in &input.airs {
            let evaluator = air.evaluator;
            for layout in [evaluator.gkr_input_layout(), evaluator.round0_layout(), evaluator.mle_layout()] {
                planner.add(layout, air.height(), |part| air.part(part));
            }
        }
        let (mut gkr_input, mut round0, mut mle) = (vec![], vec![], vec![]);
        let mut sources = planner.finish(gpu)?.into_iter();
        while let (Some(a), Some(b), Some(c)) = (sources.next(), sources.next(), sources.next()) {
            gkr_input.push(a);
            round0.push(b);
            mle.push(c);
        }
        Ok(Self { gkr_input, round0, mle, listing: Listing::new(gpu, input)? })
    }
}

/// The logup challenges and the fractional sumcheck over all interactions.
struct Logup {
    pow_witness: Observed<F>,
    alpha: Challenge,
    beta_powers: DeviceBuffer<EF>,
    /// `None` without interactions.
    gkr: Option<FractionalSumcheck>,
}

impl Logup {
    fn challenges(tx: &mut Transcript<'_>, rec: &mut Recorder, input: &RapInput<'_>) -> Result<Self> {
        let (pow_witness, sampled) = tx.grind_then_sample(rec, input.logup_pow_bits, 2 * D_EF)?;
        let (alpha, beta) = (sampled.challenge(0), sampled.challenge(1));
        let max_message_len = input.airs.iter().map(|air| air.evaluator.logup_weights().max_message_len()).max();
        let beta_powers = powers(rec, &beta, max_message_len.unwrap_or(0) + 1)?;
        Ok(Self { pow_witness, alpha, beta_powers, gkr: None })
    }

    fn prove(
        &mut self,
        tx: &mut Transcript<'_>,
        rec: &mut Recorder,
        input: &RapInput<'_>,
        tiles: &TileSources,
    ) -> Result<()> {
        if input.num_leaves == 0 {
            return Ok(());
        }
        let (sources, listing) = (&tiles.gkr_input, &tiles.listing);
        let (alpha, beta_powers) = (&self.alpha, &self.beta_powers);
        let leaves = interaction_leaves(rec, &LeafArgs { input, sources, listing, alpha, beta_powers })?;
        self.gkr = Some(padded_fractional_sumcheck(tx, rec, leaves, alpha)?);
        rec.submit()
    }

    /// The proof, after the wait.
    fn proof(self, tx: &Transcript<'_>, completed: &Completed) -> Result<GkrProof<SC>> {
        let gkr = match self.gkr {
            Some(gkr) => gkr.proof(tx, completed)?,
            None => FractionalSumcheckProof { q0: EF::ONE, claims_per_layer: vec![], sumcheck_polys: vec![] },
        };
        Ok(GkrProof {
            logup_pow_witness: tx.witness(&self.pow_witness),
            q0_claim: gkr.q0,
            claims_per_layer: gkr.claims_per_layer,
            sumcheck_polys: gkr.sumcheck_polys,
        })
    }
}

/// The point of the logup claim, extended to all variables of the sumcheck, and lambda.
fn sample_point(
    tx: &mut Transcript<'_>,
    rec: &mut Recorder,
    input: &RapInput<'_>,
    logup: &Logup,
) -> Result<(Vec<Challenge>, Challenge)> {
    let mut xi = logup.gkr.as_ref().map(FractionalSumcheck::xi).unwrap_or_default();
    let missing = (input.l_skip + input.n_global()).saturating_sub(xi.len());
    xi.extend(tx.sample_exts(rec, missing + 1)?);
    let lambda = xi.pop().expect("one more than is missing");
    Ok((xi, lambda))
}

/// Everything up to the challenge of round 0.
struct Round0 {
    gkr_proof: GkrProof<SC>,
    /// The point of the logup claim, on the device.
    xi: DeviceBuffer<EF>,
    weights: Weights,
    batch: Round0Batch,
    batched: BatchedRound0,
    /// The recording that the next rounds continue.
    rec: Recorder,
}

/// What batching by mu adds.
struct BatchedRound0 {
    /// Powers of mu, three per AIR.
    mu_powers: DeviceBuffer<EF>,
    /// Coefficients of `s_0`.
    s_0: DeviceBuffer<EF>,
    coefficients: Observed<EF>,
    r_0: Challenge,
}

impl Round0 {
    /// Round 0 of all AIRs; waits once, for the sums over the hypercube.
    fn prove(
        tx: &mut Transcript<'_>,
        mut rec: Recorder,
        input: &RapInput<'_>,
        tiles: &TileSources,
        logup: Logup,
    ) -> Result<Self> {
        let (point, lambda) = sample_point(tx, &mut rec, input, &logup)?;
        let xi = gather(&mut rec, &point)?;
        let weights = WeightArgs { input, xi: &xi, lambda: &lambda, beta_powers: &logup.beta_powers };
        let weights = Weights::new(&mut rec, weights)?;
        let sums = evaluate_round0(&mut rec, input, (&tiles.round0, &tiles.listing), &weights)?;
        let values = rec.download(sums.buffer());
        let completed = tx.sync(rec)?;
        let gkr_proof = logup.proof(tx, &completed)?;

        let point: Vec<EF> = point.iter().map(|c| tx.challenge(c)).collect();
        let polys = sums.interpolate(input, &completed.take(values)?);
        let batch = Round0Batch::new(input.l_skip, input.max_constraint_degree, &point, &polys);
        let mut rec = tx.gpu().recorder("rap constraints");
        let batched = BatchedRound0::prove(tx, &mut rec, input, &batch)?;
        // the device has waited for the host
        rec.submit()?;
        Ok(Self { gkr_proof, xi, weights, batch, batched, rec })
    }
}

impl BatchedRound0 {
    /// Sends logup's sums over the skip domain, batches by mu and sends `s_0`.
    fn prove(tx: &mut Transcript<'_>, rec: &mut Recorder, input: &RapInput<'_>, batch: &Round0Batch) -> Result<Self> {
        let claims = batch.numerator_claims.iter().zip(&batch.denominator_claims);
        tx.observe_values(rec, &claims.flat_map(|(p, q)| [*p, *q]).collect::<Vec<_>>())?;
        let mu = tx.sample_ext(rec)?;
        let mu_powers = powers(rec, &mu, 3 * input.airs.len())?;
        let polys = rec.gpu().upload(&batch.polys, "round 0 polynomials")?;
        let s_0 = combine(rec, &mu_powers, &polys, batch.len)?;
        let (coefficients, r_0) = tx.observe_then_sample(rec, &s_0, 0..batch.len)?;
        Ok(Self { mu_powers, s_0, coefficients, r_0 })
    }

    /// The Lagrange basis of the skip domain at the challenge, and the state of the first MLE round.
    fn begin_rounds(
        &self,
        rec: &mut Recorder,
        input: &RapInput<'_>,
        xi: &DeviceBuffer<EF>,
    ) -> Result<(DeviceBuffer<EF>, RoundState)> {
        let l_skip = input.l_skip;
        let lagrange = lagrange_basis(rec, &self.r_0, l_skip)?;
        let degree = input.max_constraint_degree;
        let begin = BeginRounds { l_skip, xi, lagrange: &lagrange, s_0: &self.s_0, r_0: &self.r_0, degree };
        let state = begin_rounds(rec, &begin)?;
        Ok((lagrange, state))
    }
}

/// The rounds of the hypercube and the openings; waits once.
fn prove_mle_rounds(
    tx: &mut Transcript<'_>,
    input: &RapInput<'_>,
    tiles: &TileSources,
    round0: Round0,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<(GkrProof<SC>, BatchConstraintProof<SC>, Vec<EF>)> {
    let Round0 { gkr_proof, xi, weights, batch, batched, mut rec } = round0;
    let (lagrange, state) = batched.begin_rounds(&mut rec, input, &xi)?;
    let (listing, sources) = (&tiles.listing, tiles.mle.as_slice());
    let args = MleArgs { input, listing, sources, weights: &weights, xi: &xi, mu: &batched.mu_powers };
    let mut rounds = MleRounds::begin(&mut rec, args, &lagrange)?;
    let proof = rounds.prove(tx, &mut rec, &state)?;
    let openings = column_openings(&mut rec, input, &rounds)?;
    let openings = rec.download(&openings);
    drop(rounds);
    let reading = tx.hand_over(rec)?;
    meanwhile()?;
    // the transcript of GKR is long
    tx.replay()?;
    let openings = tx.receive(reading)?.take(openings)?;
    tx.observe_on_host(&openings)?;

    let r = std::iter::once(&batched.r_0).chain(&proof.r).map(|c| tx.challenge(c)).collect();
    let batch_proof = BatchConstraintProof {
        numerator_term_per_air: batch.numerator_claims,
        denominator_term_per_air: batch.denominator_claims,
        univariate_round_coeffs: tx.values(&batched.coefficients),
        sumcheck_round_polys: proof.polys.iter().map(|poly| tx.values(poly)).collect(),
        column_openings: proof_openings(input, &openings),
    };
    Ok((gkr_proof, batch_proof, r))
}
