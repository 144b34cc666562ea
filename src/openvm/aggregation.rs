//! Aggregation on the device: leaf proofs over app proofs, internal proofs over those, until one is left.
//!
//! Upstream's circuits are used as they are; the traces of the verifier are made in `recursion`, the few others by the CPU backend.

mod nodes;

use std::{
    panic::resume_unwind,
    sync::{mpsc::channel, Arc},
    thread,
    time::Duration,
};

use openvm_circuit::arch::{
    ContinuationVmProof, Executor, MatrixRecordArena, MeteredExecutor, PreflightExecutor, VmBuilder, VmExecutionConfig,
};
use openvm_continuations::{
    circuit::{
        inner::{InnerTraceGen, InnerTraceGenImpl, ProofsType},
        SubCircuitTraceData,
    },
    prover::InnerAggregationProver,
};
use openvm_cpu_backend::CpuBackend;
use openvm_recursion_circuit::{system::check_param_compatibility, utils::poseidon2_hash_slice};
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF},
    keygen::{AggPrefixProvingKey, AggProvingKey},
    StdIn,
};
use openvm_stark_backend::{
    keygen::types::{MultiStarkProvingKey, MultiStarkVerifyingKey},
    proof::Proof,
    prover::AirProvingContext,
    SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};
use openvm_verify_stark_host::{
    pvs::{DeferralPvs, VkCommit},
    vk::VerificationBaseline,
    VmStarkProof,
};

use self::nodes::{Nodes, Step};
use super::{
    builder::to_device,
    kept::{KeptProofs, NothingKept},
    recursion::DeviceVerifier,
    AppProver, ChipRecords, Engine, HostEngine, SegmentReport,
};
use crate::{gpu::Gpu, WgpuBackend, WgpuDevice};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;

/// Upstream's prover of an aggregation level with up to `N` children, on the device.
pub type InnerProver<const N: usize> = InnerAggregationProver<WgpuBackend, DeviceVerifier<N>, InnerTraceGenImpl>;

/// Aggregates app proofs of one VM into one STARK proof, for programs without deferrals; upstream's `AggProver` with all its levels on the
/// default GPU.
pub struct AggregationProver {
    leaf: InnerProver<MAX_NUM_CHILDREN_LEAF>,
    internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
    internal_recursive: InnerProver<MAX_NUM_CHILDREN_INTERNAL>,
    tree: AggregationTreeConfig,
    gpu: Gpu,
}

/// The part of a memory budget that has room for one proof of an aggregation beside others, or beside segments: it takes 2 GiB, which are known
/// only when its traces are on the device, too late to be admitted together with them.
const ROOM_FOR_ONE: u64 = 8 << 30;

/// Proofs of a level at once: their traces are the host's work, of which hardly more than a few threads' can be done at a time.
const MOST_AT_ONCE: u64 = 4;

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
    /// Whether the proof was there already ([`KeptProofs`]).
    pub kept: bool,
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
        Self::with_keys(app_vk, params, tree, None, None)
    }

    /// As [`AggregationProver::new`], with keys that were generated before, by upstream's tools too: those of the first two levels and that
    /// of the recursive one. Keys have parameters of their own; `params` are for those that are generated now.
    ///
    /// # Panics
    ///
    /// As [`AggregationProver::new`].
    pub fn with_keys(
        app_vk: Arc<MultiStarkVerifyingKey<SC>>,
        params: &AggregationSystemParams,
        tree: AggregationTreeConfig,
        prefix: Option<AggPrefixProvingKey>,
        recursive: Option<Arc<MultiStarkProvingKey<SC>>>,
    ) -> Self {
        assert!((1..=MAX_NUM_CHILDREN_LEAF).contains(&tree.num_children_leaf), "children of a leaf");
        assert!((2..=MAX_NUM_CHILDREN_INTERNAL).contains(&tree.num_children_internal), "children of an internal node");
        let (leaf, internal) = prefix.map(|pk| (pk.leaf, pk.internal_for_leaf)).unzip();
        let leaf_params = leaf.as_ref().map_or(&params.leaf, |pk| &pk.params).clone();
        let internal_params = internal.as_ref().map_or(&params.internal, |pk| &pk.params);
        check_param_compatibility(&app_vk.inner.params, &leaf_params, internal_params);
        let leaf = level(app_vk, leaf, &leaf_params, false);
        let internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL> =
            level(leaf.get_vk(), internal, &params.internal, false);
        let internal_recursive = level(internal_for_leaf.get_vk(), recursive, &params.internal, true);
        let device = WgpuDevice::shared(leaf_params).expect("the default GPU, which has just made keys");
        Self { leaf, internal_for_leaf, internal_recursive, tree, gpu: device.gpu().clone() }
    }

    /// The keys of all levels, as upstream's tools keep them.
    pub fn proving_key(&self) -> AggProvingKey {
        let prefix =
            AggPrefixProvingKey { leaf: self.leaf.get_pk(), internal_for_leaf: self.internal_for_leaf.get_pk() };
        AggProvingKey { prefix, internal_recursive: self.internal_recursive.get_pk() }
    }

    /// The commitment to the app's VM and the levels up to the recursive one: upstream's `app_vm_commit`.
    pub fn app_vm_commit(&self) -> Digest {
        let keys = [
            self.leaf.get_vk_commit(false),
            self.internal_for_leaf.get_vk_commit(false),
            self.internal_recursive.get_vk_commit(false),
        ];
        let parts: Vec<Digest> = keys.into_iter().flat_map(|key| [key.cached_commit, key.vk_pre_hash]).collect();
        poseidon2_hash_slice(parts.as_flattened()).0
    }

    /// The key that verifies the aggregated proof.
    pub fn verifying_key(&self) -> Arc<MultiStarkVerifyingKey<SC>> {
        self.internal_recursive.get_vk()
    }

    /// What the verifier compares the aggregated proof's public values with.
    pub fn baseline<B>(&self, app: &AppProver<B>) -> VerificationBaseline
    where
        B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>,
        B::SystemChipInventory: 'static,
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
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<VmStarkProof> {
        self.prove_keeping(app, &NothingKept, progress)
    }

    /// As [`AggregationProver::prove`]; nodes whose proofs `kept` has are not proved again, and it gets those of the others.
    ///
    /// # Errors
    ///
    /// As [`AggregationProver::prove`]; [`ProveError::Stopped`](super::ProveError::Stopped) if `kept` says so.
    pub fn prove_keeping(
        &self,
        app: ContinuationVmProof<SC>,
        kept: &dyn KeptProofs,
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<VmStarkProof> {
        let _warm = self.gpu.keep_warm();
        let nodes = Nodes { prover: self, kept, progress: &progress };
        let leaves = nodes.level(Step::Leaf, &app.per_segment, self.tree.num_children_leaf)?;
        nodes.above_leaves(leaves, app.user_public_values)
    }

    /// Proves an execution and aggregates it: leaf proofs begin while segments are still being proved, if the device has memory for both.
    /// `segment` is called after each segment, `progress` after each proof of the aggregation.
    ///
    /// # Errors
    ///
    /// A [`ProveError`](super::ProveError) for the execution and its segments; what the device reports.
    pub fn prove_program<B>(
        &self,
        app: &mut AppProver<B>,
        input: StdIn,
        segment: impl Fn(&SegmentReport) + Sync,
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<(ContinuationVmProof<SC>, VmStarkProof)>
    where
        B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>> + Clone + Send + Sync + 'static,
        B::VmConfig: Send + Sync + 'static,
        B::SystemChipInventory: 'static,
        <B::VmConfig as VmExecutionConfig<F>>::Executor:
            Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, ChipRecords>,
    {
        self.prove_program_keeping(app, input, &NothingKept, segment, progress)
    }

    /// As [`AggregationProver::prove_program`]; what `kept` has is not proved again, and it gets the rest.
    ///
    /// # Errors
    ///
    /// As [`AggregationProver::prove_program`]; [`ProveError::Stopped`](super::ProveError::Stopped) if `kept` says so.
    pub fn prove_program_keeping<B>(
        &self,
        app: &mut AppProver<B>,
        input: StdIn,
        kept: &dyn KeptProofs,
        segment: impl Fn(&SegmentReport) + Sync,
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<(ContinuationVmProof<SC>, VmStarkProof)>
    where
        B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>> + Clone + Send + Sync + 'static,
        B::VmConfig: Send + Sync + 'static,
        B::SystemChipInventory: 'static,
        <B::VmConfig as VmExecutionConfig<F>>::Executor:
            Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, ChipRecords>,
    {
        let _warm = self.gpu.keep_warm();
        if self.at_once() < 2 {
            let proof = app.prove_keeping(input, kept, segment)?;
            let aggregated = self.prove_keeping(proof.clone(), kept, progress)?;
            return Ok((proof, aggregated));
        }
        let nodes = Nodes { prover: self, kept, progress: &progress };
        let (proof, leaves) = thread::scope(|scope| {
            let (sender, segments) = channel();
            let leaves = scope.spawn(|| nodes.leaves_as_they_come(segments));
            let proof = app.prove_each(input, kept, move |report, proof| {
                // a leaf that failed is found out at the end
                let _ = sender.send((report.segment, report.segments, proof.clone()));
                segment(report);
            });
            let leaves = leaves.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, eyre::Report>((proof?, leaves?))
        })?;
        let aggregated = nodes.above_leaves(leaves, proof.user_public_values.clone())?;
        Ok((proof, aggregated))
    }

    /// How many proofs of a level are made at once: as many as there is memory for.
    fn at_once(&self) -> usize {
        (self.gpu.memory_budget() / ROOM_FOR_ONE).clamp(1, MOST_AT_ONCE) as usize
    }
}

/// The provers of a level, with its key from before or a fresh one.
fn level<const N: usize>(
    child_vk: Arc<MultiStarkVerifyingKey<SC>>,
    pk: Option<Arc<MultiStarkProvingKey<SC>>>,
    params: &SystemParams,
    recursive: bool,
) -> InnerProver<N> {
    match pk {
        Some(pk) => InnerAggregationProver::from_pk::<Engine>(child_vk, pk, recursive, None),
        None => InnerAggregationProver::new::<Engine>(child_vk, params.clone(), recursive, None),
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

fn all_to_device(gpu: &Gpu, host: Vec<AirProvingContext<HostBackend>>) -> Vec<AirProvingContext<WgpuBackend>> {
    host.into_iter().map(|context| to_device(gpu, context, vec![])).collect()
}
