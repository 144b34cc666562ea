//! Proofs that are there already: a run that ended early left them, and the next one need not make them again.

use std::sync::Arc;

use openvm_circuit::{
    arch::execution_mode::metered::segment_ctx::Segment,
    system::memory::{merkle::public_values::UserPublicValuesProof, CHUNK},
};
use openvm_stark_backend::{keygen::types::MultiStarkVerifyingKey, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};

use crate::fleet::SegmentPlace;

type SC = BabyBearPoseidon2Config;

/// The places of all segments of an execution.
pub(super) fn places(segments: &[Arc<Segment>]) -> Vec<SegmentPlace> {
    let place = |(segment, s): (usize, &Arc<Segment>)| SegmentPlace {
        segment,
        segments: segments.len(),
        first_instruction: s.instret_start,
        instructions: s.num_insns,
    };
    segments.iter().enumerate().map(place).collect()
}

/// Where the proofs of a program's execution are kept as they come, and taken from if they are there.
///
/// Whoever implements this answers for what it returns: that a segment's proof is one of this program on this input from this instruction on,
/// and that a node's proof verifies these children. Methods are called from several threads.
pub trait KeptProofs: Sync {
    /// Whether nothing is there at all. Then the first segments are proved while the others are still to be found.
    fn is_empty(&self) -> bool {
        false
    }

    /// Called once, when the segments are known and before any proof is taken or kept.
    fn begin(&self, _segments: &[SegmentPlace]) {}

    /// The proof of a segment, if it is there.
    fn segment(&self, _place: &SegmentPlace) -> Option<Proof<SC>> {
        None
    }

    /// Keeps the proof of a segment.
    fn keep_segment(&self, _place: &SegmentPlace, _proof: &Proof<SC>) {}

    /// The opening of the public values at the end of the execution, if it is there. Without it, the last segment is proved again.
    fn public_values(&self) -> Option<UserPublicValuesProof<CHUNK, F>> {
        None
    }

    /// Keeps the opening of the public values.
    fn keep_public_values(&self, _values: &UserPublicValuesProof<CHUNK, F>) {}

    /// The proof of an aggregation over `children`, if it is there; `vk` verifies it.
    fn node(
        &self,
        _level: &'static str,
        _vk: &MultiStarkVerifyingKey<SC>,
        _children: &[Proof<SC>],
    ) -> Option<Proof<SC>> {
        None
    }

    /// Keeps the proof of an aggregation.
    fn keep_node(
        &self,
        _level: &'static str,
        _vk: &MultiStarkVerifyingKey<SC>,
        _children: &[Proof<SC>],
        _proof: &Proof<SC>,
    ) {
    }

    /// Whether no other proof shall begin; those under way are finished.
    fn stops(&self) -> bool {
        false
    }
}

/// Nothing is there, and nothing is kept.
pub(super) struct NothingKept;

impl KeptProofs for NothingKept {
    fn is_empty(&self) -> bool {
        true
    }
}
