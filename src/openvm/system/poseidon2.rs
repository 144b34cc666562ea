//! What the Poseidon2 AIR permutes: a row for each distinct input, in the order of the inputs.

use std::sync::atomic::Ordering;

use openvm_circuit::system::{
    memory::CHUNK,
    poseidon2::{Poseidon2PeripheryBaseChip, Poseidon2PeripheryChip, PERIPHERY_POSEIDON2_WIDTH},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use rayon::prelude::*;

use super::tree::Digest;
use crate::{gpu::as_words, kernels::openvm::Permutations};

type Input = [F; PERIPHERY_POSEIDON2_WIDTH];

/// An input of the permutation, and how often it is looked up.
#[derive(Clone, Copy)]
pub(super) struct Request {
    input: Input,
    times: u32,
}

impl Request {
    /// The compression of two digests.
    pub(super) fn new((left, right): (Digest, Digest), times: u32) -> Self {
        let input = std::array::from_fn(|i| if i < CHUNK { left[i] } else { right[i - CHUNK] });
        Self { input, times }
    }
}

/// `requests`, and what the chip has noted itself, which it forgets.
pub(super) fn permutations(chip: &Poseidon2PeripheryChip<F>, requests: Vec<Request>) -> Permutations {
    match chip {
        Poseidon2PeripheryChip::Register0(chip) => permutations_of(chip, requests),
        Poseidon2PeripheryChip::Register1(chip) => permutations_of(chip, requests),
    }
}

fn permutations_of<const R: usize>(
    chip: &Poseidon2PeripheryBaseChip<F, R>,
    mut requests: Vec<Request>,
) -> Permutations {
    if chip.nonempty.swap(false, Ordering::Relaxed) {
        let noted = chip.records.iter().map(|noted| {
            let (input, times) = noted.pair();
            Request { input: *input, times: times.load(Ordering::Relaxed) }
        });
        requests.extend(noted);
        chip.records.clear();
    }
    let distinct = deduplicate(requests);
    Permutations {
        inputs: distinct.iter().map(|request| request.input).collect(),
        times: distinct.iter().map(|request| request.times).collect(),
        lookups: 1,
        registers: R,
        height: if distinct.is_empty() { 0 } else { distinct.len().next_power_of_two() },
    }
}

/// Requests of different inputs, in order.
fn deduplicate(mut requests: Vec<Request>) -> Vec<Request> {
    requests.par_sort_unstable_by(|a, b| as_words(&a.input).cmp(as_words(&b.input)));
    requests.dedup_by(|next, kept| {
        let same = next.input == kept.input;
        if same {
            kept.times += next.times;
        }
        same
    });
    requests
}
