//! The traces of upstream's module `transcript`: Fiat-Shamir, Poseidon2, and the Merkle paths of WHIR's queries.
//!
//! Rows are upstream's, in its order: a proof after the other; of a proof its paths by round, query and commitment. Paths do not depend on each other,
//! so they are hashed side by side, and Poseidon2's inputs are sorted by all threads.

use std::borrow::{Borrow, BorrowMut};

use openvm_poseidon2_air::POSEIDON2_WIDTH;
use openvm_recursion_circuit::{
    system::{Preflight, VerifierExternalData},
    transcript::{merkle_verify::MerkleVerifyCols, poseidon2::CHUNK, transcript::TranscriptCols},
};
use openvm_stark_backend::p3_symmetric::Permutation;
use openvm_stark_backend::{
    keygen::types::MultiStarkVerifyingKey, p3_matrix::dense::RowMajorMatrix, proof::Proof, prover::AirProvingContext,
    SystemParams, TranscriptLog,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    poseidon2_compress_with_capacity, poseidon2_perm, BabyBearPoseidon2Config as SC, Digest, F,
};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use rayon::prelude::*;

use super::Trace;
use crate::kernels::openvm::Permutations;

/// Fiat-Shamir, Poseidon2, Merkle paths.
pub(super) const AIRS: usize = 3;

/// Registers of the S-box in upstream's AIR.
const SBOX_REGISTERS: usize = 1;

type State = [F; POSEIDON2_WIDTH];

const MERKLE_WIDTH: usize = size_of::<MerkleVerifyCols<u8>>();
const TRANSCRIPT_WIDTH: usize = size_of::<TranscriptCols<u8>>();

/// Makes the module's traces.
pub(super) struct TranscriptTraces {
    params: SystemParams,
}

impl TranscriptTraces {
    /// For proofs with these parameters.
    pub(super) fn new(params: SystemParams) -> Self {
        Self { params }
    }

    /// The traces of the three AIRs; nothing if one does not fit the height that it shall have.
    pub(super) fn generate(
        &self,
        child_vk: &MultiStarkVerifyingKey<SC>,
        proofs: &[Proof<SC>],
        preflights: &[Preflight],
        external: &VerifierExternalData,
        heights: Option<&[usize]>,
    ) -> Option<Vec<Trace>> {
        let height = |air: usize| heights.map(|heights| heights[air]);
        let (merkle, transcript) = rayon::join(
            || merkle_trace(&self.paths(child_vk, proofs, preflights), self.params.k_whir(), height(2)),
            || transcript_trace(preflights, height(0)),
        );
        let ((merkle, compressed), (transcript, permuted)) = (merkle?, transcript?);
        let of_preflights =
            |of: fn(&Preflight) -> &Vec<State>| preflights.iter().flat_map(move |p| of(p).iter().copied());
        let permuted = permuted.into_iter().chain(of_preflights(|preflight| &preflight.poseidon2_perm_inputs));
        let permuted = permuted.chain(external.poseidon2_permute_inputs.iter().copied());
        let compressed = compressed.into_iter().chain(of_preflights(|preflight| &preflight.poseidon2_compress_inputs));
        let compressed = compressed.chain(external.poseidon2_compress_inputs.iter().copied());
        let poseidon2 = permutations(permuted.collect(), compressed.collect(), height(1))?;
        let [transcript, merkle] = [transcript, merkle].map(AirProvingContext::simple_no_pis).map(Trace::Host);
        Some(vec![transcript, Trace::Permutations(poseidon2), merkle])
    }

    /// Paths of all proofs in the order of their rows.
    fn paths<'a>(
        &self,
        child_vk: &MultiStarkVerifyingKey<SC>,
        proofs: &'a [Proof<SC>],
        preflights: &'a [Preflight],
    ) -> Vec<Path<'a>> {
        let of_proof = |(number, (proof, preflight))| self.paths_of_proof(child_vk, number, proof, preflight);
        proofs.iter().zip(preflights).enumerate().flat_map(of_proof).collect()
    }

    fn paths_of_proof<'a>(
        &self,
        child_vk: &MultiStarkVerifyingKey<SC>,
        number: usize,
        proof: &'a Proof<SC>,
        preflight: &'a Preflight,
    ) -> Vec<Path<'a>> {
        let whir = &proof.whir_proof;
        let roots = commitments(child_vk, proof, preflight);
        let mut queries = preflight.whir.queries.iter().map(|query| query.as_canonical_u32() as usize);
        let mut paths = vec![];
        for (round, config) in self.params.whir.rounds.iter().enumerate() {
            for query in 0..config.num_queries {
                let index = queries.next().expect("a query of each round");
                let path = |commitment, leaves, siblings, root| Path {
                    proof: number,
                    round,
                    commitment,
                    index,
                    leaves,
                    siblings,
                    root,
                };
                if round > 0 {
                    let leaves = preflight.codeword_states[round - 1][query].iter().map(digest).collect();
                    let siblings = &whir.codeword_merkle_proofs[round - 1][query];
                    paths.push(path(0, leaves, siblings, whir.codeword_commits[round - 1]));
                    continue;
                }
                for (commitment, rows) in preflight.initial_row_states.iter().enumerate() {
                    let last = |states: &Vec<State>| digest(states.last().expect("a row has a cell"));
                    let siblings = &whir.initial_round_merkle_proofs[commitment][query];
                    paths.push(path(commitment, rows[query].iter().map(last).collect(), siblings, roots[commitment]));
                }
            }
        }
        paths
    }
}

/// What is permuted and compressed, each input in one row.
fn permutations(permuted: Vec<State>, compressed: Vec<State>, height: Option<usize>) -> Option<Permutations> {
    let permuted = permuted.into_iter().map(|state| (state, [1, 0]));
    let requests = permuted.chain(compressed.into_iter().map(|state| (state, [0, 1])));
    let permutations = Permutations::of(requests.collect(), SBOX_REGISTERS);
    Some(Permutations { height: padded(permutations.inputs.len().max(1), height)?, ..permutations })
}

/// The height of a trace of `rows` rows that shall have `height`; nothing if they do not fit.
fn padded(rows: usize, height: Option<usize>) -> Option<usize> {
    match height {
        Some(height) => (rows <= height).then_some(height),
        None => Some(rows.next_power_of_two()),
    }
}

fn digest(state: &State) -> Digest {
    state[..CHUNK].try_into().expect("half of a state")
}

/// Roots of what was committed before WHIR, in the order in which its queries open them.
fn commitments(child_vk: &MultiStarkVerifyingKey<SC>, proof: &Proof<SC>, preflight: &Preflight) -> Vec<Digest> {
    let mut roots = vec![proof.common_main_commit];
    for (air, data) in &preflight.proof_shape.sorted_trace_vdata {
        let preprocessed = child_vk.inner.per_air[*air].preprocessed_data.iter().map(|data| data.commit);
        roots.extend(preprocessed.chain(data.cached_commitments.iter().copied()));
    }
    roots
}

/// A query's path from the leaves of its coset to the root: first the tree over those leaves, then the siblings.
struct Path<'a> {
    proof: usize,
    round: usize,
    commitment: usize,
    index: usize,
    leaves: Vec<Digest>,
    siblings: &'a [Digest],
    root: Digest,
}

impl Path<'_> {
    /// A row for each compression, and one that receives the root.
    fn rows(&self) -> usize {
        self.leaves.len() - 1 + self.siblings.len() + 1
    }

    fn fill(&self, k: usize, rows: &mut [F]) {
        let mut rows = rows.chunks_exact_mut(MERKLE_WIDTH).map(|row| -> &mut MerkleVerifyCols<F> { row.borrow_mut() });
        let mut layer = self.leaves.clone();
        for height in 0..k {
            let compress = |(at, pair): (usize, &[Digest])| {
                let row = rows.next().expect("a row for each compression");
                self.compress(row, k, height, [pair[0], pair[1]]);
                row.is_combining_leaves = F::ONE;
                row.is_last_leaf = F::from_bool(height + 1 == k);
                row.leaf_sub_idx = F::from_usize(at);
                row.recv_flag = F::TWO;
                row.current_idx_bit_src = F::from_usize(self.index);
                row.compression_output
            };
            layer = layer.chunks_exact(2).enumerate().map(compress).collect();
        }
        let (mut hash, mut index) = (layer[0], self.index);
        for (depth, sibling) in self.siblings.iter().chain([&self.root]).enumerate() {
            let row = rows.next().expect("a row for each sibling and the root");
            let is_right = index % 2 == 1;
            self.compress(row, k, k + depth, if is_right { [*sibling, hash] } else { [hash, *sibling] });
            row.recv_flag = F::from_bool(is_right);
            row.is_last_merkle = F::from_bool(depth == self.siblings.len());
            (hash, index) = (row.compression_output, index / 2);
            row.current_idx_bit_src = F::from_usize(index);
        }
    }

    /// What all rows have.
    fn compress(&self, row: &mut MerkleVerifyCols<F>, k: usize, height: usize, [left, right]: [Digest; 2]) {
        row.is_valid = F::ONE;
        row.proof_idx = F::from_usize(self.proof);
        row.commit_major = F::from_usize(self.round);
        row.commit_minor = F::from_usize(self.commitment);
        row.merkle_idx_bit_src = F::from_usize(self.index);
        row.total_depth = F::from_usize(self.siblings.len() + k + 1);
        row.height = F::from_usize(height);
        (row.left, row.right) = (left, right);
        row.compression_output = poseidon2_compress_with_capacity(left, right).0;
    }
}

/// The trace of all paths, and what its rows compress.
fn merkle_trace(paths: &[Path], k: usize, height: Option<usize>) -> Option<(RowMajorMatrix<F>, Vec<State>)> {
    let rows: usize = paths.iter().map(Path::rows).sum();
    let mut trace = F::zero_vec(padded(rows, height)? * MERKLE_WIDTH);
    let mut rest = &mut trace[..rows * MERKLE_WIDTH];
    let mut parts = vec![];
    for path in paths {
        let (part, others) = std::mem::take(&mut rest).split_at_mut(path.rows() * MERKLE_WIDTH);
        parts.push((path, part));
        rest = others;
    }
    parts.into_par_iter().for_each(|(path, rows)| path.fill(k, rows));
    let input = |row: &[F]| {
        let row: &MerkleVerifyCols<F> = row.borrow();
        let mut input = [F::ZERO; POSEIDON2_WIDTH];
        input[..CHUNK].copy_from_slice(&row.left);
        input[CHUNK..].copy_from_slice(&row.right);
        input
    };
    let inputs = trace[..rows * MERKLE_WIDTH].par_chunks(MERKLE_WIDTH).map(input).collect();
    Some((RowMajorMatrix::new(trace, MERKLE_WIDTH), inputs))
}

/// The trace of all transcripts, and what it permutes.
fn transcript_trace(preflights: &[Preflight], height: Option<usize>) -> Option<(RowMajorMatrix<F>, Vec<State>)> {
    let of_proof = |(number, preflight): (usize, &Preflight)| transcript_rows(number, &preflight.transcript);
    let made: Vec<(Vec<F>, Vec<State>)> = preflights.par_iter().enumerate().map(of_proof).collect();
    let rows = made.iter().map(|(rows, _)| rows.len() / TRANSCRIPT_WIDTH).sum();
    let height = padded(rows, height)?;
    let (mut trace, mut inputs) = (Vec::with_capacity(height * TRANSCRIPT_WIDTH), vec![]);
    for (rows, permuted) in made {
        trace.extend(rows);
        inputs.extend(permuted);
    }
    trace.resize(height * TRANSCRIPT_WIDTH, F::ZERO);
    Some((RowMajorMatrix::new(trace, TRANSCRIPT_WIDTH), inputs))
}

/// One proof's: a row for up to eight words that are observed, or sampled, one after the other.
fn transcript_rows(proof: usize, log: &TranscriptLog<F, State>) -> (Vec<F>, Vec<State>) {
    let (samples, values) = (log.samples(), log.values());
    let (mut rows, mut inputs, mut state, mut at) = (vec![], vec![], [F::ZERO; POSEIDON2_WIDTH], 0);
    let words = samples.chunk_by(|a, b| a == b).flat_map(|same| same.chunks(CHUNK));
    for (number, words) in words.enumerate() {
        let is_sample = words[0];
        let mut row = [F::ZERO; TRANSCRIPT_WIDTH];
        let cols: &mut TranscriptCols<F> = row[..].borrow_mut();
        cols.proof_idx = F::from_usize(proof);
        cols.is_proof_start = F::from_bool(number == 0);
        cols.is_sample = F::from_bool(is_sample);
        cols.tidx = F::from_usize(at);
        cols.mask[..words.len()].fill(F::ONE);
        if !is_sample {
            state[..words.len()].copy_from_slice(&values[at..at + words.len()]);
        }
        cols.prev_state = state;
        at += words.len();
        // samples that observations follow leave the state as it is
        if samples.get(at).is_some_and(|next_is_sample| !is_sample || *next_is_sample) {
            inputs.push(state);
            poseidon2_perm().permute_mut(&mut state);
        }
        cols.post_state = state;
        rows.extend(row);
    }
    (rows, inputs)
}
