//! Hashes of what WHIR's queries have opened, all rows side by side.

use openvm_poseidon2_air::POSEIDON2_WIDTH;
use openvm_recursion_circuit::{system::Preflight, utils::poseidon2_hash_slice_with_states};
use openvm_stark_backend::proof::WhirProof;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use p3_field::BasedVectorSpace;
use rayon::prelude::*;

type State = [F; POSEIDON2_WIDTH];

/// Sponge states before and after each permutation.
struct Hash {
    before: Vec<State>,
    after: Vec<State>,
}

/// The hashes of all opened rows and values.
pub(super) struct Opened {
    /// Of the rows of the first round: `[commitment][query][coset]`.
    rows: Vec<Vec<Vec<Hash>>>,
    /// Of the values of later rounds, which take one permutation: `[round][query][coset]`.
    values: Vec<Vec<Vec<Hash>>>,
}

fn hash(values: &[F]) -> Hash {
    let (_, before, after) = poseidon2_hash_slice_with_states(values);
    Hash { before, after }
}

/// Hashes what a proof has opened.
pub(super) fn hashes(proof: &WhirProof<SC>) -> Opened {
    let of_queries = |queries: &Vec<Vec<Vec<F>>>| {
        queries.par_iter().map(|rows| rows.iter().map(|row| hash(row)).collect()).collect()
    };
    let of_values = |queries: &Vec<Vec<_>>| {
        let of_query = |values: &Vec<_>| values.iter().map(hash_of_value).collect();
        queries.par_iter().map(of_query).collect()
    };
    Opened {
        rows: proof.initial_round_opened_rows.par_iter().map(of_queries).collect(),
        values: proof.codeword_opened_values.par_iter().map(of_values).collect(),
    }
}

fn hash_of_value<E: BasedVectorSpace<F>>(value: &E) -> Hash {
    hash(value.as_basis_coefficients_slice())
}

impl Opened {
    /// Puts them where upstream's preflight has them: rows are looked up as permutations, values as compressions.
    pub(super) fn put_into(self, preflight: &mut Preflight) {
        let before = |hashes: &Vec<Vec<Vec<Hash>>>| -> Vec<State> {
            hashes.iter().flatten().flatten().flat_map(|hash| hash.before.iter().copied()).collect()
        };
        preflight.poseidon2_perm_inputs = before(&self.rows);
        preflight.poseidon2_compress_inputs = before(&self.values);
        preflight.initial_row_states = each(self.rows, |hash| hash.after);
        preflight.codeword_states = each(self.values, |hash| hash.after[0]);
    }
}

fn each<R>(hashes: Vec<Vec<Vec<Hash>>>, of: impl Fn(Hash) -> R + Copy) -> Vec<Vec<Vec<R>>> {
    let of_query = |query: Vec<Hash>| query.into_iter().map(of).collect();
    hashes.into_iter().map(|queries| queries.into_iter().map(of_query).collect()).collect()
}
