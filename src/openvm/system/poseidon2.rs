//! The trace of the Poseidon2 AIR: a row for each distinct input, in the order of the inputs.

use std::sync::atomic::Ordering;

use openvm_circuit::system::{
    memory::CHUNK,
    poseidon2::{Poseidon2PeripheryBaseChip, Poseidon2PeripheryChip, PERIPHERY_POSEIDON2_WIDTH},
};
use openvm_stark_backend::{
    p3_matrix::{dense::RowMajorMatrix, Matrix},
    prover::AirProvingContext,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use super::{tree::Digest, HostBackend};
use crate::gpu::as_words;

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

/// The trace for `requests` and for what the chip has noted itself, which it forgets.
pub(super) fn trace(chip: &Poseidon2PeripheryChip<F>, requests: Vec<Request>) -> AirProvingContext<HostBackend> {
    match chip {
        Poseidon2PeripheryChip::Register0(chip) => trace_of(chip, requests),
        Poseidon2PeripheryChip::Register1(chip) => trace_of(chip, requests),
    }
}

fn trace_of<const R: usize>(
    chip: &Poseidon2PeripheryBaseChip<F, R>,
    mut requests: Vec<Request>,
) -> AirProvingContext<HostBackend> {
    if chip.nonempty.swap(false, Ordering::Relaxed) {
        let noted = chip.records.iter().map(|noted| {
            let (input, times) = noted.pair();
            Request { input: *input, times: times.load(Ordering::Relaxed) }
        });
        requests.extend(noted);
        chip.records.clear();
    }
    let distinct = deduplicate(requests);
    let mut inputs: Vec<Input> = distinct.iter().map(|request| request.input).collect();
    inputs.resize(if inputs.is_empty() { 0 } else { inputs.len().next_power_of_two() }, [F::ZERO; 2 * CHUNK]);
    if inputs.is_empty() {
        let width = openvm_circuit::system::poseidon2::columns::Poseidon2PeripheryCols::<F, R>::width();
        return AirProvingContext::simple_no_pis(RowMajorMatrix::new(vec![], width));
    }
    let inner = chip.subchip.generate_trace(inputs);
    // the lookups' count is the last column
    let width = inner.width() + 1;
    let mut rows = F::zero_vec(inner.height() * width);
    rows.par_chunks_mut(width).zip(inner.values.par_chunks(width - 1)).for_each(|(row, inner)| {
        row[..width - 1].copy_from_slice(inner);
    });
    rows.par_chunks_mut(width).zip(&distinct).for_each(|(row, request)| row[width - 1] = F::from_u32(request.times));
    AirProvingContext::simple_no_pis(RowMajorMatrix::new(rows, width))
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
