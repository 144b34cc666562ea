//! The tree of an aggregation, node by node.

use std::{
    collections::BTreeMap,
    sync::{mpsc::Receiver, Arc, Mutex},
    time::Instant,
};

use openvm_circuit::system::memory::{merkle::public_values::UserPublicValuesProof, CHUNK};
use openvm_continuations::prover::ChildVkKind;
use openvm_stark_backend::{keygen::types::MultiStarkVerifyingKey, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use openvm_verify_stark_host::VmStarkProof;

use super::{AggregationProver, AggregationStep, InnerProver};
use crate::openvm::{
    kept::KeptProofs,
    pipeline::{pipeline, Queue, Threads},
    Engine, ProveError,
};

type SC = BabyBearPoseidon2Config;

impl AggregationProver {
    /// The prover of a level, and what it verifies.
    fn of(&self, step: Step) -> (&(dyn Level + Sync), ChildVkKind) {
        match step {
            Step::Leaf => (&self.leaf, ChildVkKind::App),
            Step::InternalForLeaf => (&self.internal_for_leaf, ChildVkKind::Standard),
            Step::InternalRecursive => (&self.internal_recursive, ChildVkKind::Standard),
            Step::Again | Step::Wrap => (&self.internal_recursive, ChildVkKind::RecursiveSelf),
        }
    }
}

/// The nodes of one aggregation.
pub(super) struct Nodes<'a, P> {
    pub prover: &'a AggregationProver,
    pub kept: &'a dyn KeptProofs,
    pub progress: &'a P,
}

impl<P: Fn(&AggregationStep) + Sync> Nodes<'_, P> {
    /// Leaf proofs over segments' proofs, which come with their numbers and how many there are, in any order.
    pub(super) fn leaves_as_they_come(
        &self,
        segments: Receiver<(usize, usize, Proof<SC>)>,
    ) -> eyre::Result<Vec<Proof<SC>>> {
        let arity = self.prover.tree.num_children_leaf;
        let segments = Mutex::new(segments);
        let prepare = |_, queue: Queue<Vec<Proof<SC>>>| {
            let segments = segments.lock().expect("the only lane");
            in_chunks(&segments, arity, |index, children| queue.push(index, children));
            Ok(())
        };
        let threads = Threads { lanes: 1, workers: self.prover.at_once() };
        Ok(pipeline(threads, prepare, |children| self.node(Step::Leaf, &children))?.1)
    }

    /// The levels above the leaf proofs.
    pub(super) fn above_leaves(
        &self,
        mut proofs: Vec<Proof<SC>>,
        user_pvs_proof: UserPublicValuesProof<CHUNK, F>,
    ) -> eyre::Result<VmStarkProof> {
        let internal = self.prover.tree.num_children_internal;
        proofs = self.level(Step::InternalForLeaf, &proofs, internal)?;
        proofs = self.level(Step::InternalRecursive, &proofs, internal)?;
        while proofs.len() > 1 {
            proofs = self.level(Step::Again, &proofs, internal)?;
        }
        proofs = self.level(Step::Wrap, &proofs, 1)?;
        let inner = proofs.pop().ok_or_else(|| eyre::eyre!("there are no app proofs to aggregate"))?;
        Ok(VmStarkProof { inner, user_pvs_proof, deferral_merkle_proofs: None })
    }

    /// Proofs of a level, over `arity` proofs each.
    pub(super) fn level<'a>(&self, step: Step, proofs: &'a [Proof<SC>], arity: usize) -> eyre::Result<Vec<Proof<SC>>> {
        let prepare = |_, queue: Queue<&'a [Proof<SC>]>| {
            proofs.chunks(arity).enumerate().for_each(|(index, children)| queue.push(index, children));
            Ok(())
        };
        let threads = Threads { lanes: 1, workers: self.prover.at_once() };
        Ok(pipeline(threads, prepare, |children| self.node(step, children))?.1)
    }

    /// One proof, made now or before.
    fn node(&self, step: Step, children: &[Proof<SC>]) -> eyre::Result<Proof<SC>> {
        let (prover, kind) = self.prover.of(step);
        let (vk, start) = (prover.vk(), Instant::now());
        let kept = self.kept.node(step.name(), &vk, children);
        let is_kept = kept.is_some();
        let proof = match kept {
            Some(proof) => proof,
            None if self.kept.stops() => return Err(ProveError::StoppedAggregation.into()),
            None => {
                let proof = prover.prove_node(children, kind)?;
                self.kept.keep_node(step.name(), &vk, children, &proof);
                proof
            }
        };
        let proving = start.elapsed();
        (self.progress)(&AggregationStep { level: step.name(), children: children.len(), proving, kept: is_kept });
        Ok(proof)
    }
}

/// Hands on chunks of `size` items with their numbers as soon as each is whole; items come with their numbers and how many there are, in any order.
fn in_chunks<T>(items: &Receiver<(usize, usize, T)>, size: usize, mut hand_on: impl FnMut(usize, Vec<T>)) {
    let mut chunks: BTreeMap<usize, BTreeMap<usize, T>> = BTreeMap::new();
    for (index, all, item) in items {
        let number = index / size;
        let chunk = chunks.entry(number).or_default();
        chunk.insert(index, item);
        if chunk.len() == size.min(all - number * size) {
            hand_on(number, chunks.remove(&number).into_iter().flatten().map(|(_, item)| item).collect());
        }
    }
}

/// What a level's proofs verify.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Leaf,
    InternalForLeaf,
    InternalRecursive,
    /// As the one before, over proofs of the same.
    Again,
    Wrap,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::InternalForLeaf => "internal for leaf",
            Self::InternalRecursive | Self::Again => "internal recursive",
            Self::Wrap => "wrap",
        }
    }
}

/// A level whatever the number of its children.
pub(super) trait Level {
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn chunks_are_handed_on_as_soon_as_they_are_whole() {
        let order = [3, 0, 5, 4, 6, 1, 2];
        let (sender, items) = channel();
        order.iter().for_each(|item| sender.send((*item, order.len(), *item)).unwrap());
        drop(sender);
        let mut chunks = vec![];
        in_chunks(&items, 3, |index, chunk| chunks.push((index, chunk)));
        assert_eq!(chunks, [(1, vec![3, 4, 5]), (2, vec![6]), (0, vec![0, 1, 2])]);
        // when the items end early, so does this
        let (sender, items) = channel();
        [0, 1].iter().for_each(|item| sender.send((*item, 4, *item)).unwrap());
        drop(sender);
        let mut chunks = vec![];
        in_chunks(&items, 2, |index, chunk| chunks.push((index, chunk)));
        assert_eq!(chunks, [(0, vec![0, 1])]);
    }
}
