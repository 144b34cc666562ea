//! What the Poseidon2 AIR permutes: a row for each distinct input.

use std::sync::atomic::Ordering;

use openvm_circuit::system::{
    memory::CHUNK,
    poseidon2::{Poseidon2PeripheryBaseChip, Poseidon2PeripheryChip},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::tree::Digest;
use crate::kernels::openvm::{Permutations, Request};

/// The compression of two digests, which is looked up so many times.
pub(super) fn compression((left, right): (Digest, Digest), times: u32) -> Request<1> {
    (std::array::from_fn(|i| if i < CHUNK { left[i] } else { right[i - CHUNK] }), [times])
}

/// `requests`, and what the chip has noted itself, which it forgets.
pub(super) fn permutations(chip: &Poseidon2PeripheryChip<F>, requests: Vec<Request<1>>) -> Permutations {
    match chip {
        Poseidon2PeripheryChip::Register0(chip) => permutations_of(chip, requests),
        Poseidon2PeripheryChip::Register1(chip) => permutations_of(chip, requests),
    }
}

fn permutations_of<const R: usize>(
    chip: &Poseidon2PeripheryBaseChip<F, R>,
    mut requests: Vec<Request<1>>,
) -> Permutations {
    if chip.nonempty.swap(false, Ordering::Relaxed) {
        let noted = chip.records.iter().map(|noted| (*noted.key(), [noted.value().load(Ordering::Relaxed)]));
        requests.extend(noted);
        chip.records.clear();
    }
    Permutations::of(requests, R)
}
