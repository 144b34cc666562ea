//! One node of an aggregation by itself, and whether a proof is one of its level.

use std::borrow::Borrow;

use openvm_stark_backend::{p3_field::PrimeCharacteristicRing, StarkEngine};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2CpuEngine, DuplexSponge};
use openvm_verify_stark_host::pvs::{
    VerifierBasePvs, CONSTRAINT_EVAL_AIR_ID, CONSTRAINT_EVAL_CACHED_INDEX, VERIFIER_PVS_AIR_ID,
};

use super::*;
use crate::{
    fleet::{Cancellation, Task, TaskKind},
    openvm::tasks::{self, Failure},
};

impl AggregationProver {
    /// Makes the proof of a task above segments on the first device.
    pub(in crate::openvm) fn node(
        &self,
        task: &Task,
        inputs: &[tasks::Result],
        cancelled: &Cancellation,
    ) -> Result<tasks::Result, Failure> {
        let _warm = self.levels().device.keep_warm();
        let works = self.works(&NothingKept, &|_| ());
        works[0].run(task, inputs, cancelled)
    }

    /// Verifies a proof of this kind, and that it verifies proofs under the keys of this aggregation.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub(in crate::openvm) fn verify_node(&self, kind: TaskKind, proof: &Proof<SC>) -> Result<(), String> {
        let vk = self.levels().vk(kind);
        let engine = BabyBearPoseidon2CpuEngine::<DuplexSponge>::new(vk.inner.params.clone());
        engine.verify(&vk, proof).map_err(|error| error.to_string())?;
        match self.keys_stated(kind, proof) {
            Some(true) => Ok(()),
            Some(false) => Err("it verifies proofs under other keys".into()),
            None => Err("it has not the public values of a proof of its kind".into()),
        }
    }

    /// Whether the keys that a proof says it has verified are those of the levels below; nothing if it does not say.
    fn keys_stated(&self, kind: TaskKind, proof: &Proof<SC>) -> Option<bool> {
        let Levels { leaf, internal_for_leaf, internal_recursive, .. } = self.levels();
        // levels below, and the number that stands for the proof's own
        let (levels, flag) = match kind {
            TaskKind::Segment => return None,
            TaskKind::Leaf => (1, F::ZERO),
            TaskKind::InternalForLeaf => (2, F::ONE),
            TaskKind::InternalRecursive => (3, F::TWO),
            TaskKind::InternalAgain | TaskKind::Wrap => (4, F::TWO),
        };
        let keys = [
            leaf.get_vk_commit(false),
            internal_for_leaf.get_vk_commit(false),
            internal_recursive.get_vk_commit(false),
            internal_recursive.get_vk_commit(true),
        ];
        let values = proof.public_values.get(VERIFIER_PVS_AIR_ID)?;
        let stated: &VerifierBasePvs<F> = values.get(..VerifierBasePvs::<u8>::width())?.borrow();
        let stated_keys = [
            stated.app_vk_commit,
            stated.leaf_vk_commit,
            stated.internal_for_leaf_vk_commit,
            stated.internal_recursive_vk_commit,
        ];
        let own = proof.trace_vdata.get(CONSTRAINT_EVAL_AIR_ID)?.as_ref()?;
        let own = own.cached_commitments.get(CONSTRAINT_EVAL_CACHED_INDEX)?;
        let fits = *own == keys[levels - 1].cached_commit && stated_keys[..levels] == keys[..levels];
        Some(fits && stated.internal_flag == flag)
    }
}
