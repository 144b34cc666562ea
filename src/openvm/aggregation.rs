//! Aggregation on the device: leaf proofs over app proofs, internal proofs over those, until one is left.
//!
//! Upstream's circuits and their trace generation are used as they are; what they ask of a backend is implemented here by letting the CPU
//! backend generate the traces.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openvm_circuit::arch::{ContinuationVmProof, VmBuilder};
use openvm_continuations::{
    circuit::{
        inner::{InnerTraceGen, InnerTraceGenImpl, ProofsType},
        SubCircuitTraceData,
    },
    prover::{ChildVkKind, InnerAggregationProver},
};
use openvm_cpu_backend::CpuBackend;
use openvm_recursion_circuit::{
    batch_constraint::{commit_child_vk, expr_eval::CachedTraceRecord},
    system::{
        check_param_compatibility, CachedTraceCtx, VerifierConfig, VerifierExternalData, VerifierSubCircuit,
        VerifierTraceGen,
    },
};
use openvm_sdk::config::{
    AggregationSystemParams, AggregationTreeConfig, MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF,
};
use openvm_stark_backend::{
    keygen::types::MultiStarkVerifyingKey,
    proof::Proof,
    prover::{AirProvingContext, CommittedTraceData},
    EngineDeviceCtx, FiatShamirTranscript, StarkEngine, SystemParams, TranscriptHistory,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use openvm_verify_stark_host::{
    pvs::{DeferralPvs, VkCommit},
    vk::VerificationBaseline,
    VmStarkProof,
};

use super::{
    builder::{committed_elsewhere, to_device},
    AppProver, Engine, HostEngine,
};
use crate::{gpu::Gpu, WgpuBackend};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;

/// Upstream's prover of an aggregation level with up to `N` children, on the device.
pub type InnerProver<const N: usize> = InnerAggregationProver<WgpuBackend, VerifierSubCircuit<N>, InnerTraceGenImpl>;

/// Aggregates app proofs of one VM into one STARK proof, for programs without deferrals; upstream's `AggProver` with all its levels on the
/// default GPU.
pub struct AggregationProver {
    leaf: InnerProver<MAX_NUM_CHILDREN_LEAF>,
    internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
    internal_recursive: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
    tree: AggregationTreeConfig,
}

/// One proof of an aggregation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AggregationStep {
    /// `leaf`, `internal for leaf`, `internal recursive` or `wrap`.
    pub level: &'static str,
    /// Proofs that it verifies.
    pub children: usize,
    /// Trace generation and proof.
    pub proving: Duration,
}

impl AggregationProver {
    /// Generates the keys of all levels for app proofs under `app_vk`.
    ///
    /// # Panics
    ///
    /// If the parameters of the levels do not fit each other, a node shall have more children than its circuit has room for, or the device
    /// fails.
    pub fn new(
        app_vk: Arc<MultiStarkVerifyingKey<SC>>,
        params: &AggregationSystemParams,
        tree: AggregationTreeConfig,
    ) -> Self {
        assert!((1..=MAX_NUM_CHILDREN_LEAF).contains(&tree.num_children_leaf), "children of a leaf");
        assert!((2..=MAX_NUM_CHILDREN_INTERNAL).contains(&tree.num_children_internal), "children of an internal node");
        check_param_compatibility(&app_vk.inner.params, &params.leaf, &params.internal);
        let internal = |child_vk, recursive| {
            let params: SystemParams = params.internal.clone();
            InnerAggregationProver::new::<Engine>(child_vk, params, recursive, None)
        };
        let leaf = InnerAggregationProver::new::<Engine>(app_vk, params.leaf.clone(), false, None);
        let internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL> = internal(leaf.get_vk(), false);
        let internal_recursive = internal(internal_for_leaf.get_vk(), true);
        Self { leaf, internal_for_leaf, internal_recursive, tree }
    }

    /// The key that verifies the aggregated proof.
    pub fn verifying_key(&self) -> Arc<MultiStarkVerifyingKey<SC>> {
        self.internal_recursive.get_vk()
    }

    /// What the verifier compares the aggregated proof's public values with.
    pub fn baseline<B>(&self, app: &AppProver<B>) -> VerificationBaseline
    where
        B: VmBuilder<HostEngine>,
        B::RecordArena: 'static,
    {
        VerificationBaseline {
            app_exe_commit: app.exe_commit(),
            memory_dimensions: app.system_config().memory_config.memory_dimensions(),
            num_user_pvs: app.system_config().num_public_values,
            app_vk_commit: self.leaf.get_vk_commit(false),
            leaf_vk_commit: self.internal_for_leaf.get_vk_commit(false),
            internal_for_leaf_vk_commit: self.internal_recursive.get_vk_commit(false),
            internal_recursive_vk_commit: self.internal_recursive.get_vk_commit(true),
            expected_def_hook_commit: None,
        }
    }

    /// Aggregates the segments' proofs; `progress` is called after each proof.
    ///
    /// As upstream's, the result is wrapped once more, which makes it smaller.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn prove(
        &self,
        app: ContinuationVmProof<SC>,
        mut progress: impl FnMut(&AggregationStep),
    ) -> eyre::Result<VmStarkProof> {
        use ChildVkKind::{App, RecursiveSelf, Standard};
        let internal = self.tree.num_children_internal;
        let mut level = |prover: &dyn Level, name, kind, proofs: &[Proof<SC>], arity| {
            let nodes = proofs.chunks(arity).map(|children| {
                let start = Instant::now();
                let proof = prover.prove_node(children, kind)?;
                progress(&AggregationStep { level: name, children: children.len(), proving: start.elapsed() });
                Ok(proof)
            });
            nodes.collect::<eyre::Result<Vec<_>>>()
        };
        let mut proofs = level(&self.leaf, "leaf", App, &app.per_segment, self.tree.num_children_leaf)?;
        proofs = level(&self.internal_for_leaf, "internal for leaf", Standard, &proofs, internal)?;
        proofs = level(&self.internal_recursive, "internal recursive", Standard, &proofs, internal)?;
        while proofs.len() > 1 {
            proofs = level(&self.internal_recursive, "internal recursive", RecursiveSelf, &proofs, internal)?;
        }
        proofs = level(&self.internal_recursive, "wrap", RecursiveSelf, &proofs, 1)?;
        let inner = proofs.pop().ok_or_else(|| eyre::eyre!("there are no app proofs to aggregate"))?;
        Ok(VmStarkProof { inner, user_pvs_proof: app.user_public_values, deferral_merkle_proofs: None })
    }
}

/// A level whatever the number of its children.
trait Level {
    fn prove_node(&self, children: &[Proof<SC>], kind: ChildVkKind) -> eyre::Result<Proof<SC>>;
}

impl<const N: usize> Level for InnerProver<N> {
    fn prove_node(&self, children: &[Proof<SC>], kind: ChildVkKind) -> eyre::Result<Proof<SC>> {
        self.agg_prove_no_def::<Engine>(children, kind)
    }
}

impl InnerTraceGen<WgpuBackend, Gpu> for InnerTraceGenImpl {
    fn new(deferral_enabled: bool) -> Self {
        Self { deferral_enabled }
    }

    fn generate_pre_verifier_subcircuit_ctxs(
        &self,
        proofs: &[Proof<SC>],
        proofs_type: ProofsType,
        absent_trace_pvs: Option<(DeferralPvs<F>, bool)>,
        child_is_app: bool,
        child_vk_commit: VkCommit<F>,
        gpu: &Gpu,
    ) -> SubCircuitTraceData<WgpuBackend> {
        let host = InnerTraceGen::<HostBackend, ()>::generate_pre_verifier_subcircuit_ctxs(
            self,
            proofs,
            proofs_type,
            absent_trace_pvs,
            child_is_app,
            child_vk_commit,
            &(),
        );
        SubCircuitTraceData {
            air_proving_ctxs: all_to_device(gpu, host.air_proving_ctxs),
            poseidon2_compress_inputs: host.poseidon2_compress_inputs,
            poseidon2_permute_inputs: host.poseidon2_permute_inputs,
            range_check_inputs: host.range_check_inputs,
        }
    }

    fn generate_post_verifier_subcircuit_ctxs(
        &self,
        proofs: &[Proof<SC>],
        proofs_type: ProofsType,
        child_is_app: bool,
        gpu: &Gpu,
    ) -> Vec<AirProvingContext<WgpuBackend>> {
        let host: Vec<AirProvingContext<HostBackend>> =
            InnerTraceGen::<HostBackend, ()>::generate_post_verifier_subcircuit_ctxs(
                self,
                proofs,
                proofs_type,
                child_is_app,
                &(),
            );
        all_to_device(gpu, host)
    }
}

impl<const N: usize> VerifierTraceGen<WgpuBackend, SC, Gpu> for VerifierSubCircuit<N> {
    fn new(child_vk: Arc<MultiStarkVerifyingKey<SC>>, config: VerifierConfig) -> Self {
        Self::new_with_options(child_vk, config)
    }

    fn commit_child_vk<E: StarkEngine<SC = SC, PB = WgpuBackend>>(
        &self,
        engine: &E,
        child_vk: &MultiStarkVerifyingKey<SC>,
    ) -> CommittedTraceData<WgpuBackend>
    where
        Gpu: From<EngineDeviceCtx<E>>,
    {
        commit_child_vk(engine, child_vk, true)
    }

    fn cached_trace_record(&self, child_vk: &MultiStarkVerifyingKey<SC>) -> CachedTraceRecord {
        VerifierTraceGen::<HostBackend, SC, ()>::cached_trace_record(self, child_vk)
    }

    fn generate_proving_ctxs<TS: FiatShamirTranscript<SC> + TranscriptHistory<F = F, State = [F; 16]>>(
        &self,
        child_vk: &MultiStarkVerifyingKey<SC>,
        cached: CachedTraceCtx<WgpuBackend>,
        proofs: &[Proof<SC>],
        external_data: &mut VerifierExternalData,
        gpu: &Gpu,
        transcript: TS,
    ) -> Option<Vec<AirProvingContext<WgpuBackend>>> {
        let (host_cached, mut committed) = match cached {
            CachedTraceCtx::Records(records) => (CachedTraceCtx::Records(records), None),
            CachedTraceCtx::PcsData(data) => {
                let stand_in = committed_elsewhere(data.commitment, data.height());
                (CachedTraceCtx::PcsData(stand_in), Some(data))
            }
        };
        let host: Vec<AirProvingContext<HostBackend>> = VerifierTraceGen::<HostBackend, SC, ()>::generate_proving_ctxs(
            self,
            child_vk,
            host_cached,
            proofs,
            external_data,
            &(),
            transcript,
        )?;
        let contexts = host.into_iter().map(|context| {
            let cached = context.cached_mains.iter().map(|_| committed.take().expect("one AIR has the cached trace"));
            let cached = cached.collect();
            to_device(gpu, context, cached)
        });
        Some(contexts.collect())
    }
}

fn all_to_device(gpu: &Gpu, host: Vec<AirProvingContext<HostBackend>>) -> Vec<AirProvingContext<WgpuBackend>> {
    host.into_iter().map(|context| to_device(gpu, context, vec![])).collect()
}
