//! Aggregation on the device: leaf proofs over app proofs, internal proofs over those, until one is left.
//!
//! Upstream's circuits are used as they are; the traces of the verifier are made in `recursion`, the few others by the CPU backend.

mod nodes;
#[cfg(feature = "fleet")]
mod stated;

use std::{sync::Arc, time::Duration};

use openvm_circuit::arch::ContinuationVmProof;
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

use self::nodes::{aggregate, Levels, NodeWork};
use super::{
    builder::to_device,
    kept::{KeptProofs, NothingKept},
    recursion::DeviceVerifier,
    tasks::{Tree, Work},
    AppProver, Engine, HostVmBuilder, SegmentReport,
};
use crate::{
    error::{caught, fault, Error},
    gpu::Gpu,
    WgpuBackend, WgpuDevice,
};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;

/// Upstream's prover of an aggregation level with up to `N` children, on the device.
pub type InnerProver<const N: usize> = InnerAggregationProver<WgpuBackend, DeviceVerifier<N>, InnerTraceGenImpl>;

/// Aggregates app proofs of one VM into one STARK proof, for programs without deferrals; upstream's `AggProver` with all its levels on the
/// default GPU, and on others as well ([`AggregationProver::also_on`]).
pub struct AggregationProver {
    /// The keys of all levels on each device, and what they prove; one device at least.
    devices: Vec<Levels>,
    app_vk: Arc<MultiStarkVerifyingKey<SC>>,
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
    /// Whether the proof was there already ([`KeptProofs`]).
    pub kept: bool,
    /// The number of the device that proved it ([`AggregationProver::devices`]); `None` if it was kept.
    pub device: Option<usize>,
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

    /// As [`AggregationProver::new`], on `device` in place of the default GPU, whatever its parameters.
    ///
    /// # Panics
    ///
    /// As [`AggregationProver::new`].
    pub fn on_device(
        device: &WgpuDevice,
        app_vk: Arc<MultiStarkVerifyingKey<SC>>,
        params: &AggregationSystemParams,
        tree: AggregationTreeConfig,
    ) -> Self {
        device.as_default(|| Self::new(app_vk, params, tree))
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
        let leaf = level(app_vk.clone(), leaf, &leaf_params, false);
        let internal_for_leaf: InnerProver<MAX_NUM_CHILDREN_INTERNAL> =
            level(leaf.get_vk(), internal, &params.internal, false);
        let internal_recursive = level(internal_for_leaf.get_vk(), recursive, &params.internal, true);
        let device = WgpuDevice::shared(leaf_params).expect("the default GPU, which has just made keys");
        Self { devices: vec![Levels { device, leaf, internal_for_leaf, internal_recursive }], app_vk, tree }
    }

    /// The same prover, which proves on `device`, too, whatever that one's parameters: each node on the device that is free first. The proofs
    /// are the same, and a device that is lost does no harm as long as another one is left. An [`AppProver`] that proves on the same devices
    /// ([`AppProver::also_on`]) shares them.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn also_on(mut self, device: &WgpuDevice) -> Result<Self, Error> {
        let Levels { leaf, internal_for_leaf, internal_recursive, device: first } = &self.devices[0];
        let device = device.with_params(first.params().clone())?;
        let levels = || Levels {
            leaf: level(self.app_vk.clone(), Some(leaf.get_pk()), first.params(), false),
            internal_for_leaf: level(leaf.get_vk(), Some(internal_for_leaf.get_pk()), first.params(), false),
            internal_recursive: level(
                internal_for_leaf.get_vk(),
                Some(internal_recursive.get_pk()),
                first.params(),
                true,
            ),
            device: device.clone(),
        };
        // upstream's code has no way to return the device's error
        let levels = caught(|| device.as_default(levels))
            .map_err(|panic| Error::gpu("the keys of an aggregation", fault(panic)))?;
        self.devices.push(levels);
        Ok(self)
    }

    /// The devices that prove; steps have their numbers.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &WgpuDevice> {
        self.devices.iter().map(|levels| &levels.device)
    }

    /// The first device's, whose keys are all devices'.
    fn levels(&self) -> &Levels {
        &self.devices[0]
    }

    /// The keys of all levels, as upstream's tools keep them.
    pub fn proving_key(&self) -> AggProvingKey {
        let prefix = AggPrefixProvingKey {
            leaf: self.levels().leaf.get_pk(),
            internal_for_leaf: self.levels().internal_for_leaf.get_pk(),
        };
        AggProvingKey { prefix, internal_recursive: self.levels().internal_recursive.get_pk() }
    }

    /// The commitment to the app's VM and the levels up to the recursive one: upstream's `app_vm_commit`.
    pub fn app_vm_commit(&self) -> Digest {
        let keys = [
            self.levels().leaf.get_vk_commit(false),
            self.levels().internal_for_leaf.get_vk_commit(false),
            self.levels().internal_recursive.get_vk_commit(false),
        ];
        let parts: Vec<Digest> = keys.into_iter().flat_map(|key| [key.cached_commit, key.vk_pre_hash]).collect();
        poseidon2_hash_slice(parts.as_flattened()).0
    }

    /// The key that verifies the aggregated proof.
    pub fn verifying_key(&self) -> Arc<MultiStarkVerifyingKey<SC>> {
        self.levels().internal_recursive.get_vk()
    }

    /// What the verifier compares the aggregated proof's public values with.
    pub fn baseline<B: HostVmBuilder>(&self, app: &AppProver<B>) -> VerificationBaseline {
        VerificationBaseline {
            app_exe_commit: app.exe_commit(),
            memory_dimensions: app.system_config().memory_config.memory_dimensions(),
            num_user_pvs: app.system_config().num_public_values,
            app_vk_commit: self.levels().leaf.get_vk_commit(false),
            leaf_vk_commit: self.levels().internal_for_leaf.get_vk_commit(false),
            internal_for_leaf_vk_commit: self.levels().internal_recursive.get_vk_commit(false),
            internal_recursive_vk_commit: self.levels().internal_recursive.get_vk_commit(true),
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
        let _warm: Vec<_> = self.devices().map(WgpuDevice::keep_warm).collect();
        let works = self.works(kept, &progress);
        let inner = aggregate(app.per_segment, &self.tree(&works))?;
        Ok(VmStarkProof { inner, user_pvs_proof: app.user_public_values, deferral_merkle_proofs: None })
    }

    /// What each device does of an aggregation.
    fn works<'a>(
        &'a self,
        kept: &'a dyn KeptProofs,
        progress: &'a (dyn Fn(&AggregationStep) + Sync),
    ) -> Vec<NodeWork<'a>> {
        let work = |(number, levels)| NodeWork { number, levels, kept, progress };
        self.devices.iter().enumerate().map(work).collect()
    }

    fn tree<'a>(&self, works: &'a [NodeWork<'a>]) -> Tree<'a> {
        Tree { shape: self.tree, nodes: works.iter().map(|work| work as &dyn Work).collect() }
    }

    /// Proves an execution and aggregates it: each node's proof begins as soon as its children are there.
    /// `segment` is called after each segment, `progress` after each proof of the aggregation.
    ///
    /// # Errors
    ///
    /// A [`ProveError`](super::ProveError) for the execution and its segments; what the device reports.
    pub fn prove_program<B: HostVmBuilder>(
        &self,
        app: &mut AppProver<B>,
        input: StdIn,
        segment: impl Fn(&SegmentReport) + Sync,
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<(ContinuationVmProof<SC>, VmStarkProof)> {
        self.prove_program_keeping(app, input, &NothingKept, segment, progress)
    }

    /// As [`AggregationProver::prove_program`]; what `kept` has is not proved again, and it gets the rest.
    ///
    /// # Errors
    ///
    /// As [`AggregationProver::prove_program`]; [`ProveError::Stopped`](super::ProveError::Stopped) if `kept` says so.
    pub fn prove_program_keeping<B: HostVmBuilder>(
        &self,
        app: &mut AppProver<B>,
        input: StdIn,
        kept: &dyn KeptProofs,
        segment: impl Fn(&SegmentReport) + Sync,
        progress: impl Fn(&AggregationStep) + Sync,
    ) -> eyre::Result<(ContinuationVmProof<SC>, VmStarkProof)> {
        let _warm: Vec<_> = self.devices().map(WgpuDevice::keep_warm).collect();
        let works = self.works(kept, &progress);
        let (proof, root) = app.prove_tasks(input, kept, &segment, Some(&self.tree(&works)))?;
        let (inner, user_pvs_proof) = (root.expect("the plan has a root"), proof.user_public_values.clone());
        Ok((proof, VmStarkProof { inner, user_pvs_proof, deferral_merkle_proofs: None }))
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
