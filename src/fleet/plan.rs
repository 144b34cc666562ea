//! What a proof's graph is made of: the segments of an execution, and the shape of the tree above them.

use serde::{Deserialize, Serialize};

use super::State;

/// A segment of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentPlace {
    /// Its number, from 0.
    pub segment: usize,
    /// How many there are.
    pub segments: usize,
    /// Instructions executed before it.
    pub first_instruction: u64,
    /// Instructions that it executes.
    pub instructions: u64,
}

/// A segment as metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlannedSegment {
    /// Which one it is.
    #[serde(flatten)]
    pub place: SegmentPlace,
    /// Device memory that its proof takes at most, bytes.
    pub device_bytes: u64,
}

/// One proof to make: metered once, by whoever asks for it. The same plan gives the same tasks anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What program, configuration and input the proof is of: a hash of them all, or a name that stands for them.
    pub job: String,
    /// The state in which the program begins.
    pub start: State,
    /// The segments of the execution, in order.
    pub segments: Vec<PlannedSegment>,
    /// Whether the segments' proofs become one.
    pub aggregated: bool,
    /// Segments that a leaf verifies at most.
    pub leaf_arity: usize,
    /// Proofs that an internal node verifies at most.
    pub internal_arity: usize,
    /// Device memory that a leaf or a node takes at most, bytes.
    pub node_bytes: u64,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a plan: {0}")]
pub struct PlanError(pub String);

impl Plan {
    /// Segments that a leaf verifies, by default.
    pub const LEAF_ARITY: usize = 4;
    /// Proofs that an internal node verifies, by default.
    pub const INTERNAL_ARITY: usize = 3;

    /// Whether it is one: segments one after the other from the first instruction on, and nodes that have children.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        let fail = |reason: String| Err(PlanError(reason));
        if self.segments.is_empty() {
            return fail("no segment".into());
        }
        let mut at = 0;
        for (index, PlannedSegment { place: segment, .. }) in self.segments.iter().enumerate() {
            if (segment.segment, segment.segments) != (index, self.segments.len()) {
                return fail(format!("segment {index} calls itself {} of {}", segment.segment, segment.segments));
            }
            if segment.first_instruction != at || segment.instructions == 0 {
                return fail(format!("segment {index} does not begin where the one before ends, or is empty"));
            }
            at = match at.checked_add(segment.instructions) {
                Some(end) => end,
                None => return fail(format!("segment {index} ends beyond 2^64 instructions")),
            };
        }
        // one child a node would never come to an end
        if self.aggregated && (self.leaf_arity == 0 || self.internal_arity < 2) {
            return fail(format!("leaves of {} and nodes of {} children", self.leaf_arity, self.internal_arity));
        }
        Ok(())
    }
}
