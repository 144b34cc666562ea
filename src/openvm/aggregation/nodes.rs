//! The nodes of an aggregation, on one device or several.

use std::{sync::Arc, time::Instant};

use openvm_continuations::prover::ChildVkKind;
use openvm_sdk::config::{MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF};
use openvm_stark_backend::{keygen::types::MultiStarkVerifyingKey, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config;

use super::{AggregationStep, InnerProver};
use crate::{
    fleet::{Cancellation, PlannedSegment, SegmentPlace, Task, TaskKind},
    gpu::Gpu,
    openvm::{
        kept::KeptProofs,
        tasks::{self, of_segment, Ended, Failure, Made, Tree, Work},
        Engine, ProveError,
    },
    WgpuDevice,
};

type SC = BabyBearPoseidon2Config;

/// The part of a memory budget that has room for one proof of an aggregation beside others, or beside segments: it takes 2 GiB, which are known
/// only when its traces are on the device, too late to be admitted together with them.
const ROOM_FOR_ONE: u64 = 8 << 30;

/// Proofs at once: their traces are the host's work, of which hardly more than a few threads' can be done at a time.
const MOST_AT_ONCE: u64 = 4;

/// The keys of all levels on a device.
pub(super) struct Levels {
    pub device: WgpuDevice,
    pub leaf: InnerProver<MAX_NUM_CHILDREN_LEAF>,
    pub internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
    pub internal_recursive: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
}

impl Levels {
    /// The prover of a level, and what it verifies.
    fn of(&self, kind: TaskKind) -> (&(dyn Level + Sync), ChildVkKind) {
        match kind {
            TaskKind::Segment => unreachable!("no node"),
            TaskKind::Leaf => (&self.leaf, ChildVkKind::App),
            TaskKind::InternalForLeaf => (&self.internal_for_leaf, ChildVkKind::Standard),
            TaskKind::InternalRecursive => (&self.internal_recursive, ChildVkKind::Standard),
            TaskKind::InternalAgain | TaskKind::Wrap => (&self.internal_recursive, ChildVkKind::RecursiveSelf),
        }
    }

    /// The key that verifies proofs of this kind.
    #[cfg(feature = "fleet")]
    pub(super) fn vk(&self, kind: TaskKind) -> Arc<MultiStarkVerifyingKey<SC>> {
        self.of(kind).0.vk()
    }

    /// How many proofs are made at once: as many as there is memory for.
    fn at_once(&self) -> usize {
        (self.device.gpu().memory_budget() / ROOM_FOR_ONE).clamp(1, MOST_AT_ONCE) as usize
    }

    fn prove(&self, kind: TaskKind, children: &[Proof<SC>]) -> eyre::Result<Proof<SC>> {
        let (prover, child) = self.of(kind);
        let gpu = self.device.gpu();
        // where there is no room for anything beside it, not even for a segment
        let alone = (self.at_once() < 2).then(|| gpu.admit(gpu.memory_budget()));
        let device = alone.as_ref().map_or_else(|| self.device.clone(), |alone| self.device.under(alone));
        device.as_default(|| prover.prove_node(children, child))
    }
}

/// What a device does of an aggregation.
pub(super) struct NodeWork<'a> {
    /// The device's number among the prover's.
    pub number: usize,
    pub levels: &'a Levels,
    pub kept: &'a dyn KeptProofs,
    pub progress: &'a (dyn Fn(&AggregationStep) + Sync),
}

impl Work for NodeWork<'_> {
    fn gpu(&self) -> &Gpu {
        self.levels.device.gpu()
    }

    fn slots(&self) -> usize {
        self.levels.at_once()
    }

    fn run(&self, task: &Task, inputs: &[tasks::Result], _: &Cancellation) -> Result<tasks::Result, Failure> {
        let (level, vk, start) = (level_name(task.kind), self.levels.of(task.kind).0.vk(), Instant::now());
        let children: Vec<_> = inputs.iter().map(|made| made.proof.clone()).collect();
        let kept = self.kept.node(level, &vk, &children);
        let device = kept.is_none().then_some(self.number);
        let proof = match kept {
            Some(proof) => proof,
            None if self.kept.stops() => return Err(Failure::Cancelled),
            None => {
                let proof = self.levels.prove(task.kind, &children).map_err(Failure::Error)?;
                self.kept.keep_node(level, &vk, &children, &proof);
                proof
            }
        };
        let (children, proving, kept) = (children.len(), start.elapsed(), device.is_none());
        (self.progress)(&AggregationStep { level, children, proving, kept, device });
        Ok(Arc::new(Made { proof, public_values: None }))
    }
}

fn level_name(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Segment => "segment",
        TaskKind::Leaf => "leaf",
        TaskKind::InternalForLeaf => "internal for leaf",
        TaskKind::InternalRecursive | TaskKind::InternalAgain => "internal recursive",
        TaskKind::Wrap => "wrap",
    }
}

/// Segments that are proved, for whichever device is left.
struct Proved<'a> {
    gpu: &'a Gpu,
    segments: &'a [tasks::Result],
}

impl Work for Proved<'_> {
    fn gpu(&self) -> &Gpu {
        self.gpu
    }

    fn slots(&self) -> usize {
        1
    }

    fn run(&self, task: &Task, _: &[tasks::Result], _: &Cancellation) -> Result<tasks::Result, Failure> {
        Ok(self.segments[task.index].clone())
    }
}

/// Aggregates segments' proofs.
pub(super) fn aggregate(segments: Vec<Proof<SC>>, tree: &Tree<'_>) -> eyre::Result<Proof<SC>> {
    let first = segments.first().ok_or_else(|| eyre::eyre!("there are no app proofs to aggregate"))?;
    let (program, statement) = of_segment(first).ok_or_else(|| eyre::eyre!("these are no app proofs"))?;
    let place = |segment| PlannedSegment {
        place: SegmentPlace { segment, segments: segments.len(), first_instruction: segment as u64, instructions: 1 },
        device_bytes: 0,
    };
    let mut start = statement.before;
    start.root = Default::default();
    let plan = tasks::plan(start, (0..segments.len()).map(place).collect(), Some(tree));
    let made = |proof| Arc::new(Made { proof, public_values: None });
    let segments: Vec<_> = segments.into_iter().map(made).collect();
    let proved: Vec<_> = tree.nodes.iter().map(|node| Proved { gpu: node.gpu(), segments: &segments }).collect();
    let proved: Vec<&dyn Work> = proved.iter().map(|work| work as &dyn Work).collect();
    match tasks::run(&plan, program, &proved, &tree.nodes) {
        Ok(proved) => Ok(Arc::unwrap_or_clone(proved.root.expect("the plan has a root")).proof),
        Err(Ended::Failure(failure)) => Err(failure.into_report()),
        Err(Ended::Stopped) => Err(ProveError::StoppedAggregation.into()),
        Err(Ended::Other(text)) => Err(ProveError::NoDevice(text).into()),
    }
}

/// A level whatever the number of its children.
trait Level {
    fn prove_node(&self, children: &[Proof<SC>], kind: ChildVkKind) -> eyre::Result<Proof<SC>>;

    /// The key that verifies its proofs.
    fn vk(&self) -> Arc<MultiStarkVerifyingKey<SC>>;
}

impl<const N: usize> Level for InnerProver<N> {
    fn prove_node(&self, children: &[Proof<SC>], kind: ChildVkKind) -> eyre::Result<Proof<SC>> {
        self.agg_prove_no_def::<Engine>(children, kind)
    }

    fn vk(&self) -> Arc<MultiStarkVerifyingKey<SC>> {
        self.get_vk()
    }
}
