//! WHIR: one proof that all stacked columns evaluate as claimed at one point.
//!
//! # Part 1: the protocol (upstream `prover/whir.rs`)
//!
//! The stacked columns are batched to one multilinear polynomial `f = sum_j mu^j q_j` in `m` variables. The claim is a sum
//! `sum_x f(x) w(x)` over the hypercube with the weight `w = mobius_eq(u, .)`. A *WHIR round* of folding factor `k`
//!
//! 1. runs `k` rounds of sumcheck on that sum; each sends `s(1)`, `s(2)` of `s(X) = sum_y f(X, y) w(X, y)` and gets `alpha`;
//! 2. commits to `g = f(alpha_1, .., alpha_k, .)` by the Merkle root of its Reed-Solomon codeword, and sends `g(pow(z_0))` at a random
//!    out-of-domain point, `pow(z) = (z, z^2, z^4, ..)`; the last round sends the coefficients of `g` instead;
//! 3. opens the previous oracle at random positions, which gives `g(pow(z_i))` at points `z_i` of a smooth domain;
//! 4. goes on with `f := g` and `w := w(alpha, .) + gamma eq(pow(z_0), .) + sum_i gamma^(i+1) eq(pow(z_i), .)`.
//!
//! # Part 2: this implementation
//!
//! **Coefficients and moments.** `f` is held by its coefficients `c`, `w` by its moments `m[T] = sum_{x >= T} w(x)` (sums over supersets of
//! `T`), because then `sum_x f(x) w(x) = sum_T c[T] m[T]` still, and all transforms fall away: what the encoding
//! of the columns starts from *is* the coefficients of `f`, those of `g` are what its codeword starts from and what the last round sends;
//! the moments of `mobius_eq(u, .)` are `eq(u, .)`, those of `eq(pow(z), .)` are the powers `z^T`. In a round variable `X`, `c_X = c_0 + X c_1` and
//! `m_X = (1 - X) m_0 + (2 X - 1) m_1`.
//!
//! **The weight is never a vector.** All its terms are products over the variables, `C_t prod_i e_{t,i}`, so in the `k` sumcheck rounds of a
//! WHIR round a term acts on `f` only through the `2^k` inner products `c[t][b] = sum_y f[2^k y + b] e_t[y]` of the residue classes of `f`
//! with the term's high variables. The sumcheck runs on a table of those, a row a term, against `m[t][b] = C_t prod_{i < k} e_{t,i}(b)`: some
//! thousand entries whatever the size of `f`. Its last fold leaves the next `C_t`.
//!
//! * For the few *dense terms*, `eq(u, .)` and the out-of-domain points, the inner products take a pass over `f` each. That of a new
//!   out-of-domain point gives the value `g(pow(z_0)) = sum_b z_0^b c[b]`, too.
//! * For the hundreds of queried points no pass is needed: `c[t][b] = f_b(z^(2^k))` with `f(X) = sum_b X^b f_b(X^(2^k))`, and the codeword of `f`
//!   holds `f` at all `z zeta^j`, `zeta` of order `2^k`: an inverse transform of `2^k` gathered values.
//!
//! So `f` is read once a dense term and once to be folded by all `k` challenges. The rounds are recorded without a wait; the proof is read
//! from the transcript's tape and the gathered openings. The coefficients that the last round sends are observed by the host, since hashing
//! one list has no parallelism: before it waits for them, it follows the transcript of the other rounds.

mod openings;
mod weight;

#[cfg(test)]
mod tests;

use openvm_stark_backend::{proof::WhirProof, SystemParams};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, D_EF, EF, F};
use tracing::{info_span, instrument};

use self::{openings::Openings, weight::Weight};
use crate::{
    error::{Error, Result},
    gpu::{Completed, DeviceBuffer, Gpu, Recorder},
    kernels::{
        merkle::MerkleTree,
        ntt,
        powers::powers,
        transcript::gather,
        whir::{
            batch::{ColumnBatch, ColumnBlock},
            fold::fold_coefficients,
            round::{round, TermTable},
            rows::LastRound,
        },
    },
    stages::{
        pcs::{panel_bytes, PcsData},
        transcript::{Challenge, Observed, Reading, Transcript},
        ProofShape,
    },
};

type SC = BabyBearPoseidon2Config;

/// Proves the evaluations at `u_cube` of all stacked columns of `commits`; waits three times, of which once with the device at work.
///
/// `u_cube` has `l_skip + n_stack` elements, the point on the hypercube of the columns' coefficients.
///
/// # Errors
///
/// [`Error::InvalidInput`] for shapes that do not fit the parameters, [`Error::Unsupported`] for parameters without a WHIR round or with
/// foldings by more than 2^8, else what the device reports.
#[instrument(name = "prover.openings.whir", level = "info", skip_all, fields(phase = "prover"))]
pub fn prove_whir(
    tx: &mut Transcript<'_>,
    params: &SystemParams,
    commits: &[&PcsData],
    u_cube: &DeviceBuffer<EF>,
) -> Result<WhirProof<SC>> {
    check(params, commits, u_cube)?;
    let mut rec = tx.gpu().recorder("whir");
    let (mu_pow_witness, mu) = tx.grind_then_sample(&mut rec, params.whir.mu_pow_bits, D_EF)?;
    let f = batch_columns(&mut rec, commits, &mu.challenge(0), params.l_skip)?;
    let (weight, table) = Weight::initial(&mut rec, u_cube, &f, params)?;
    let mut prover = WhirProver { params, commits, f, weight, table, oracle: None };
    let last = params.num_whir_rounds() - 1;
    let mut rounds = vec![];
    for whir_round in 0..last {
        // lets the device start, and the pool reuse what the last round dropped
        rec.submit()?;
        rounds.push(prover.round(tx, &mut rec, whir_round)?);
    }
    let earlier = tx.hand_over(rec)?;
    let LastFolding { sumcheck, coefficients, earlier } = prover.fold_last(tx, earlier)?;

    let mut rec = tx.gpu().recorder("whir, last queries");
    let opened = prover.open_queries(tx, &mut rec, last)?;
    let opening = tx.hand_over(rec)?;
    let mut proof = empty_proof(tx.witness(&mu_pow_witness));
    for round in rounds {
        round.write(tx, &earlier, &mut proof)?;
    }
    sumcheck.write(tx, &mut proof);
    proof.final_poly = coefficients;
    let done = tx.receive(opening)?;
    opened.write(tx, &done, &mut proof)?;
    Ok(proof)
}

/// Bytes that WHIR holds at most until it has opened the first rows: f, its first codeword with the transform's second buffer, and that
/// one's commitment.
pub fn bytes_until_opened(params: &SystemParams) -> u64 {
    let height = 1u64 << params.log_stacked_height();
    16 * height + 48 * (height << params.log_blowup)
}

/// Bytes that WHIR holds at most beside what stays of the commitments: those until the first rows are opened, or, behind that, the
/// codeword, its tree and the panels that the openings make again.
pub fn peak_bytes(gpu: &Gpu, params: &SystemParams, shape: &ProofShape) -> u64 {
    let rs_height = 1u64 << (params.log_stacked_height() + params.log_blowup);
    let tree = (64 * rs_height) >> params.k_whir();
    bytes_until_opened(params).max(8 * rs_height + tree / 2 + panel_bytes(gpu, params, shape))
}

fn check(params: &SystemParams, commits: &[&PcsData], u_cube: &DeviceBuffer<EF>) -> Result<()> {
    let (m, k, rounds) = (params.log_stacked_height(), params.k_whir(), params.num_whir_rounds());
    if rounds == 0 || !(1..=8).contains(&k) || k * rounds > m {
        return Err(Error::Unsupported(format!("WHIR with {rounds} rounds of {k} foldings on {m} variables")));
    }
    if u_cube.len() != m {
        return Err(Error::InvalidInput(format!("WHIR at a point of {} coordinates, not {m}", u_cube.len())));
    }
    if commits.is_empty() {
        return Err(Error::InvalidInput("WHIR without a commitment".into()));
    }
    match commits.iter().map(|c| c.stacked.height()).find(|height| *height != 1 << m) {
        Some(height) => Err(Error::InvalidInput(format!("stacked height {height} is not 2^{m}"))),
        None => Ok(()),
    }
}

/// The coefficients of `f = sum_j mu^j q_j` over the columns of all commitments. The map from evaluations to coefficients is linear, so it
/// runs once, on the batched column.
fn batch_columns(rec: &mut Recorder, commits: &[&PcsData], mu: &Challenge, l_skip: usize) -> Result<DeviceBuffer<EF>> {
    let _span = info_span!("whir_f_evals_batch").entered();
    let width = commits.iter().map(|c| c.stacked.width()).sum();
    let mu_powers = powers(rec, mu, width)?;
    let f = rec.gpu().alloc(commits[0].stacked.height(), "batched polynomial")?;
    rec.clear(&f);
    let mut first_column = 0;
    for stacked in commits.iter().map(|c| &c.stacked) {
        for piece in stacked.pieces() {
            for segment in piece.matrix.segments() {
                let cells = piece.segment_cells(segment);
                let (first_cell, cells) = (cells.start, cells.len());
                let block = ColumnBlock { source: &segment.buffer, first_cell, cells, log_stride: piece.log_stride };
                ColumnBatch { block: &block, mu: &mu_powers, first_column, f: &f }.record(rec);
            }
        }
        first_column += stacked.width();
    }
    ntt::eval_to_coeff_rs_message(rec, &f, l_skip)?;
    Ok(f)
}

/// What one WHIR round hands to the next.
struct WhirProver<'a> {
    params: &'a SystemParams,
    commits: &'a [&'a PcsData],
    /// Coefficients of f.
    f: DeviceBuffer<EF>,
    weight: Weight,
    /// The sumcheck's table for f and the weight.
    table: TermTable,
    /// The oracle of f: in the first round there are those of the columns instead.
    oracle: Option<Oracle>,
}

/// A committed codeword.
struct Oracle {
    codeword: DeviceBuffer<EF>,
    tree: MerkleTree,
}

/// The `k` rounds of sumcheck: what the proof takes from them, and the challenges.
struct Sumcheck {
    sums: Vec<Observed<EF>>,
    folding_pow_witnesses: Vec<Observed<F>>,
    alphas: Vec<Challenge>,
}

/// The queries of a round, answered, and the challenge behind them.
struct OpenedRows {
    query_phase_pow_witness: Observed<F>,
    /// Words whose low `index_bits` bits are the queries.
    queries: Observed<F>,
    index_bits: usize,
    openings: Openings,
    gamma: Challenge,
}

/// What the proof takes from a WHIR round but the last, by places on the transcript's tape and tickets of the recording.
struct RoundProof {
    sumcheck: Sumcheck,
    commit: Observed<Digest>,
    ood_value: Observed<EF>,
    opened: OpenedRows,
}

/// What the last round sends before its queries.
struct LastFolding {
    sumcheck: Sumcheck,
    /// Of g, all of it.
    coefficients: Vec<EF>,
    /// The recording of the rounds before.
    earlier: Completed,
}

impl WhirProver<'_> {
    /// A round that commits to the folded polynomial.
    fn round(&mut self, tx: &mut Transcript<'_>, rec: &mut Recorder, whir_round: usize) -> Result<RoundProof> {
        let sumcheck = self.fold(tx, rec, whir_round)?;
        let (oracle, commit, ood_value) = self.commit(tx, rec, whir_round)?;
        // the unfolded f, and what encoding and hashing needed, go back to the pool before the openings take their panels
        rec.submit()?;
        let opened = self.open_queries(tx, rec, whir_round)?;
        let alpha = &sumcheck.alphas[self.params.k_whir() - 1];
        let last = LastRound { table: &self.table, alpha, gamma: &opened.gamma };
        self.table = self.weight.next_table(rec, last, (&opened.queries, opened.index_bits), &oracle.codeword)?;
        self.oracle = Some(oracle);
        Ok(RoundProof { sumcheck, commit, ood_value, opened })
    }

    /// The last round up to its coefficients, which the host observes: it is faster at a long list, and follows the rounds before, whose
    /// recording is under way, while the device folds.
    fn fold_last(&mut self, tx: &mut Transcript<'_>, earlier: Reading) -> Result<LastFolding> {
        let mut rec = tx.gpu().recorder("whir, last folding");
        let sumcheck = self.fold(tx, &mut rec, self.params.num_whir_rounds() - 1)?;
        let coefficients = rec.download(&self.f);
        let folding = tx.hand_over(rec)?;
        let earlier = tx.receive(earlier)?;
        tx.replay()?;
        let coefficients = tx.receive(folding)?.take(coefficients)?;
        tx.observe_on_host(&coefficients)?;
        Ok(LastFolding { sumcheck, coefficients, earlier })
    }

    /// Goes on from f to g.
    fn fold(&mut self, tx: &mut Transcript<'_>, rec: &mut Recorder, whir_round: usize) -> Result<Sumcheck> {
        let sumcheck = self.sumcheck(tx, rec, whir_round)?;
        let alphas = gather(rec, &sumcheck.alphas)?;
        self.f = fold_coefficients(rec, &self.f, &alphas)?;
        Ok(sumcheck)
    }

    /// Samples queries and answers them from the oracle of the unfolded polynomial.
    fn open_queries(&self, tx: &mut Transcript<'_>, rec: &mut Recorder, whir_round: usize) -> Result<OpenedRows> {
        let (whir, log_rs_domain_size) = (&self.params.whir, self.log_rs_domain_size(whir_round));
        let num_queries = whir.rounds[whir_round].num_queries;
        // the queries, then gamma
        let (query_phase_pow_witness, sampled) =
            tx.grind_then_sample(rec, whir.query_phase_pow_bits, num_queries + D_EF)?;
        let (queries, gamma) = sampled.split_at(num_queries);
        let openings = match &self.oracle {
            None => Openings::initial(rec, self.commits, &queries)?,
            Some(oracle) => Openings::later(rec, oracle, &queries)?,
        };
        let index_bits = log_rs_domain_size - self.params.k_whir();
        Ok(OpenedRows { query_phase_pow_witness, queries, index_bits, openings, gamma: gamma.challenge(0) })
    }

    fn log_rs_domain_size(&self, whir_round: usize) -> usize {
        self.params.log_stacked_height() + self.params.log_blowup - whir_round
    }

    /// `k` rounds on the table, which has two entries a row afterwards: the last challenge remains to be folded in.
    fn sumcheck(&mut self, tx: &mut Transcript<'_>, rec: &mut Recorder, whir_round: usize) -> Result<Sumcheck> {
        let _span = info_span!("whir_sumcheck", round = whir_round).entered();
        let mut sumcheck = Sumcheck { sums: vec![], folding_pow_witnesses: vec![], alphas: vec![] };
        for _ in 0..self.params.k_whir() {
            let (table, sums) = round(rec, &self.table, sumcheck.alphas.last())?;
            self.table = table;
            let bits = self.params.whir.folding_pow_bits;
            let (sums, witness, alpha) = tx.observe_grind_then_sample(rec, (&sums, 0..2), bits, D_EF)?;
            sumcheck.sums.push(sums);
            sumcheck.folding_pow_witnesses.push(witness);
            sumcheck.alphas.push(alpha.challenge(0));
        }
        Ok(sumcheck)
    }

    /// Commits to g, which f is now, and evaluates it out of domain, at a point that becomes a term of the weight.
    fn commit(
        &mut self,
        tx: &mut Transcript<'_>,
        rec: &mut Recorder,
        whir_round: usize,
    ) -> Result<(Oracle, Observed<Digest>, Observed<EF>)> {
        let _span = info_span!("whir_dft_merkle", round = whir_round).entered();
        let codeword = ntt::dft_ext(rec, &self.f, self.log_rs_domain_size(whir_round + 1))?;
        let tree = MerkleTree::from_ext(rec, &codeword, 1 << self.weight.k())?;
        let (commit, z_0) = tx.observe_then_sample(rec, tree.root(), 0..1)?;
        let value = self.weight.add_point(rec, &z_0, &self.f)?;
        let ood_value = tx.observe(rec, &value, 0..1)?;
        Ok((Oracle { codeword, tree }, commit, ood_value))
    }
}

impl Sumcheck {
    /// Takes the values into their places in the proof.
    fn write(self, tx: &Transcript<'_>, proof: &mut WhirProof<SC>) {
        let sums = self.sums.into_iter().map(|sums| tx.values(&sums));
        proof.whir_sumcheck_polys.extend(sums.map(|s| [s[0], s[1]]));
        proof.folding_pow_witnesses.extend(self.folding_pow_witnesses.into_iter().map(|w| tx.witness(&w)));
    }
}

impl RoundProof {
    /// Takes the values into their places in the proof.
    fn write(self, tx: &Transcript<'_>, done: &Completed, proof: &mut WhirProof<SC>) -> Result<()> {
        self.sumcheck.write(tx, proof);
        proof.codeword_commits.extend(tx.values(&self.commit));
        proof.ood_values.extend(tx.values(&self.ood_value));
        self.opened.write(tx, done, proof)
    }
}

impl OpenedRows {
    /// Takes the values into their places in the proof.
    fn write(self, tx: &Transcript<'_>, done: &Completed, proof: &mut WhirProof<SC>) -> Result<()> {
        proof.query_phase_pow_witnesses.push(tx.witness(&self.query_phase_pow_witness));
        self.openings.write(done, proof)
    }
}

fn empty_proof(mu_pow_witness: F) -> WhirProof<SC> {
    WhirProof {
        mu_pow_witness,
        whir_sumcheck_polys: vec![],
        codeword_commits: vec![],
        ood_values: vec![],
        folding_pow_witnesses: vec![],
        query_phase_pow_witnesses: vec![],
        initial_round_opened_rows: vec![],
        initial_round_merkle_proofs: vec![],
        codeword_opened_values: vec![],
        codeword_merkle_proofs: vec![],
        final_poly: vec![],
    }
}
