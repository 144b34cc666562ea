//! Aggregation on the device: leaf proofs over app proofs, internal proofs over those, until one is left.
//!
//! Upstream's circuits are used as they are; the traces of the verifier are made in `recursion`, the few others by the CPU backend.

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{
        mpsc::{channel, Receiver},
        Arc, Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use openvm_circuit::{
    arch::{
        ContinuationVmProof, Executor, MatrixRecordArena, MeteredExecutor, PreflightExecutor, VmBuilder,
        VmExecutionConfig,
    },
    system::memory::{merkle::public_values::UserPublicValuesProof, CHUNK},
};
use openvm_continuations::{
    circuit::{
        inner::{InnerTraceGen, InnerTraceGenImpl, ProofsType},
        SubCircuitTraceData,
    },
    prover::{ChildVkKind, InnerAggregationProver},
};
use openvm_cpu_backend::CpuBackend;
use openvm_recursion_circuit::system::check_param_compatibility;
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF},
    StdIn,
};
use openvm_stark_backend::{
    keygen::types::MultiStarkVerifyingKey, proof::Proof, prover::AirProvingContext, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use openvm_verify_stark_host::{
    pvs::{DeferralPvs, VkCommit},
    vk::VerificationBaseline,
    VmStarkProof,
};

use super::{
    builder::to_device,
    pipeline::{pipeline, Queue, Threads},
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
        let device = WgpuDevice::shared(params.leaf.clone()).expect("the default GPU, which has just made keys");
        Self { leaf, internal_for_leaf, internal_recursive, tree, gpu: device.gpu().clone() }
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
        let _warm = self.gpu.keep_warm();
        let leaves = self.level(Step::Leaf, &app.per_segment, self.tree.num_children_leaf, &progress)?;
        self.above_leaves(leaves, app.user_public_values, &progress)
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
        let _warm = self.gpu.keep_warm();
        if self.at_once() < 2 {
            let proof = app.prove_with(input, segment)?;
            let aggregated = self.prove(proof.clone(), progress)?;
            return Ok((proof, aggregated));
        }
        let (proof, leaves) = thread::scope(|scope| {
            let (sender, segments) = channel();
            let leaves = scope.spawn(|| self.leaves_as_they_come(segments, &progress));
            let proof = app.prove_each(input, move |report, proof| {
                // a leaf that failed is found out at the end
                let _ = sender.send((report.segment, report.segments, proof.clone()));
                segment(report);
            });
            let leaves = leaves.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, eyre::Report>((proof?, leaves?))
        })?;
        let aggregated = self.above_leaves(leaves, proof.user_public_values.clone(), &progress)?;
        Ok((proof, aggregated))
    }

    /// Leaf proofs over segments' proofs, which come with their numbers and how many there are, in any order.
    fn leaves_as_they_come(
        &self,
        segments: Receiver<(usize, usize, Proof<SC>)>,
        progress: &(impl Fn(&AggregationStep) + Sync),
    ) -> eyre::Result<Vec<Proof<SC>>> {
        let arity = self.tree.num_children_leaf;
        let segments = Mutex::new(segments);
        let prepare = |_, queue: Queue<Vec<Proof<SC>>>| {
            let segments = segments.lock().expect("the only lane");
            in_chunks(&segments, arity, |index, children| queue.push(index, children));
            Ok(())
        };
        let threads = Threads { lanes: 1, workers: self.at_once() };
        Ok(pipeline(threads, prepare, |children| self.node(Step::Leaf, &children, progress))?.1)
    }

    /// How many proofs of a level are made at once: as many as there is memory for.
    fn at_once(&self) -> usize {
        (self.gpu.memory_budget() / ROOM_FOR_ONE).clamp(1, MOST_AT_ONCE) as usize
    }

    /// The levels above the leaf proofs.
    fn above_leaves(
        &self,
        mut proofs: Vec<Proof<SC>>,
        user_pvs_proof: UserPublicValuesProof<CHUNK, F>,
        progress: &(impl Fn(&AggregationStep) + Sync),
    ) -> eyre::Result<VmStarkProof> {
        let internal = self.tree.num_children_internal;
        proofs = self.level(Step::InternalForLeaf, &proofs, internal, progress)?;
        proofs = self.level(Step::InternalRecursive, &proofs, internal, progress)?;
        while proofs.len() > 1 {
            proofs = self.level(Step::Again, &proofs, internal, progress)?;
        }
        proofs = self.level(Step::Wrap, &proofs, 1, progress)?;
        let inner = proofs.pop().ok_or_else(|| eyre::eyre!("there are no app proofs to aggregate"))?;
        Ok(VmStarkProof { inner, user_pvs_proof, deferral_merkle_proofs: None })
    }

    /// Proofs of a level, over `arity` proofs each.
    fn level<'a>(
        &self,
        step: Step,
        proofs: &'a [Proof<SC>],
        arity: usize,
        progress: &(impl Fn(&AggregationStep) + Sync),
    ) -> eyre::Result<Vec<Proof<SC>>> {
        let prepare = |_, queue: Queue<&'a [Proof<SC>]>| {
            proofs.chunks(arity).enumerate().for_each(|(index, children)| queue.push(index, children));
            Ok(())
        };
        let threads = Threads { lanes: 1, workers: self.at_once() };
        Ok(pipeline(threads, prepare, |children| self.node(step, children, progress))?.1)
    }

    /// One proof over `children`.
    fn node(
        &self,
        step: Step,
        children: &[Proof<SC>],
        progress: &(impl Fn(&AggregationStep) + Sync),
    ) -> eyre::Result<Proof<SC>> {
        let (prover, kind): (&(dyn Level + Sync), _) = match step {
            Step::Leaf => (&self.leaf, ChildVkKind::App),
            Step::InternalForLeaf => (&self.internal_for_leaf, ChildVkKind::Standard),
            Step::InternalRecursive => (&self.internal_recursive, ChildVkKind::Standard),
            Step::Again | Step::Wrap => (&self.internal_recursive, ChildVkKind::RecursiveSelf),
        };
        let start = Instant::now();
        let proof = prover.prove_node(children, kind)?;
        progress(&AggregationStep { level: step.name(), children: children.len(), proving: start.elapsed() });
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
enum Step {
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

fn all_to_device(gpu: &Gpu, host: Vec<AirProvingContext<HostBackend>>) -> Vec<AirProvingContext<WgpuBackend>> {
    host.into_iter().map(|context| to_device(gpu, context, vec![])).collect()
}

#[cfg(test)]
mod tests {
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
