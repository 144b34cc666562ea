//! Traces of the recursion circuit, which verifies proofs.
//!
//! # Protocol
//!
//! A node of the aggregation proves that it has verified its children. Its circuit and the meaning of every trace are upstream's
//! (`openvm-recursion-circuit`): six modules, each with some AIRs, and what a verifier would compute, the *preflight*, of each child.
//!
//! # This implementation
//!
//! Upstream's CPU traces take longer than the proof: 0.35 s for four children of a leaf, on 16 cores, of which most is one thread's hashing. Here
//!
//! - the hashes of opened rows, and the three traces of the module `transcript`, are made on all threads ([`opened`], [`transcript`]), but for
//!   the largest one, Poseidon2's, which the device makes of what is permuted ([`Permutations`]);
//! - each module's traces go to the device as soon as they are there.
//!
//! Every other trace is upstream's own code. All are cell by cell what upstream's CPU backend makes.

mod opened;
mod transcript;

use std::sync::Arc;

use openvm_cpu_backend::CpuBackend;
use openvm_poseidon2_air::POSEIDON2_WIDTH;
use openvm_recursion_circuit::{
    batch_constraint::{commit_child_vk, expr_eval::CachedTraceRecord, BatchConstraintModule},
    gkr::GkrModule,
    primitives::{exp_bits_len::ExpBitsLenCpuTraceGenerator, pow::PowerCheckerCpuTraceGenerator},
    proof_shape::ProofShapeModule,
    stacking::StackingModule,
    system::{
        AggregationSubCircuit, AirModule, BusIndexManager, BusInventory, CachedTraceCtx, Preflight, TraceGenModule,
        VerifierConfig, VerifierExternalData, VerifierSubCircuit, VerifierTraceGen,
    },
    whir::WhirModule,
};
use openvm_stark_backend::{
    interaction::BusIndex,
    keygen::types::MultiStarkVerifyingKey,
    proof::Proof,
    prover::{AirProvingContext, CommittedTraceData},
    AirRef, EngineDeviceCtx, FiatShamirTranscript, StarkEngine, StarkProtocolConfig, TranscriptHistory,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use rayon::prelude::*;

use self::transcript::TranscriptTraces;
use super::builder::{only, to_device};
use crate::{gpu::Gpu, kernels::openvm::Permutations, WgpuBackend};

type HostBackend = CpuBackend<SC>;
type HostContexts = Vec<AirProvingContext<HostBackend>>;
type Contexts = Vec<AirProvingContext<WgpuBackend>>;

/// The trace of an AIR, as its module has it.
#[allow(clippy::large_enum_variant)]
enum Trace {
    /// Made.
    Host(AirProvingContext<HostBackend>),
    /// What the device makes it of.
    Permutations(Permutations),
}

impl Trace {
    fn on_device(self, gpu: &Gpu) -> AirProvingContext<WgpuBackend> {
        match self {
            Self::Host(context) => to_device(gpu, context, vec![]),
            Self::Permutations(permutations) => only(permutations.trace(gpu)),
        }
    }
}

/// Bits up to which grinding is looked up, upstream's `POW_CHECKER_HEIGHT`.
const POW_HEIGHT: usize = 32;

/// The AIR with the cached trace, upstream's `LOCAL_SYMBOLIC_EXPRESSION_AIR_IDX`, in the first module.
const CACHED_AIR: usize = 0;

/// Upstream's circuit that verifies up to `N` proofs, with traces for the device.
pub struct DeviceVerifier<const N: usize> {
    /// AIRs and keys.
    circuit: VerifierSubCircuit<N>,
    batch_constraint: BatchConstraintModule,
    transcript: TranscriptTraces,
    proof_shape: ProofShapeModule,
    gkr: GkrModule,
    stacking: StackingModule,
    whir: WhirModule,
}

impl<const N: usize> DeviceVerifier<N> {
    fn new(child_vk: Arc<MultiStarkVerifyingKey<SC>>, config: VerifierConfig) -> Self {
        let circuit = VerifierSubCircuit::new_with_options(child_vk.clone(), config);
        // buses are part of AIRs, and these are the circuit's: the modules here only make traces
        let (inventory, mut buses) = (circuit.bus_inventory().clone(), BusIndexManager::new());
        let frame = child_vk.as_ref().into();
        Self {
            proof_shape: ProofShapeModule::new(&frame, &mut buses, inventory.clone(), config.continuations_enabled),
            gkr: GkrModule::new(&child_vk, &mut buses, inventory.clone()),
            batch_constraint: BatchConstraintModule::new(
                &child_vk,
                &mut buses,
                inventory.clone(),
                N,
                config.has_cached,
            ),
            stacking: StackingModule::new(&child_vk, &mut buses, inventory.clone()),
            whir: WhirModule::new(&child_vk, &mut buses, inventory),
            transcript: TranscriptTraces::new(child_vk.inner.params.clone()),
            circuit,
        }
    }

    /// What a verifier of `proof` computes; `sponge` is its transcript at the start.
    fn preflight<TS>(&self, mut sponge: TS, child_vk: &MultiStarkVerifyingKey<SC>, proof: &Proof<SC>) -> Preflight
    where
        TS: FiatShamirTranscript<SC> + TranscriptHistory<F = F, State = [F; POSEIDON2_WIDTH]>,
    {
        let verify = || {
            let mut preflight = Preflight::default();
            self.proof_shape.run_preflight(child_vk, proof, &mut preflight, &mut sponge);
            self.gkr.run_preflight(proof, &mut preflight, &mut sponge);
            self.batch_constraint.run_preflight(child_vk, proof, &mut preflight, &mut sponge);
            self.stacking.run_preflight(proof, &mut preflight, &mut sponge);
            self.whir.run_preflight(proof, &mut preflight, &mut sponge);
            preflight.transcript = sponge.into_log();
            preflight
        };
        let (mut preflight, opened) = rayon::join(verify, || opened::hashes(&proof.whir_proof));
        opened.put_into(&mut preflight);
        preflight
    }

    /// The traces of all AIRs, in their order; `finish` is given each module's, with its number, as soon as they are there.
    fn traces<R: Send>(
        &self,
        verified: Verified<'_>,
        records: Option<&CachedTraceRecord>,
        external: &VerifierExternalData,
        finish: impl Fn(usize, Vec<Trace>) -> R + Sync,
    ) -> Option<Vec<R>> {
        let powers = Arc::new(PowerCheckerCpuTraceGenerator::<2, POW_HEIGHT>::default());
        for log in external.power_check_inputs {
            powers.add_pow(*log);
        }
        let exponents = ExpBitsLenCpuTraceGenerator::default();
        let air_counts = [
            self.batch_constraint.num_airs(),
            transcript::AIRS,
            self.proof_shape.num_airs(),
            self.gkr.num_airs(),
            self.stacking.num_airs(),
            self.whir.num_airs(),
        ];
        let (heights, last_heights) = split(external.required_heights, &air_counts);
        let Verified { child_vk, proofs, preflights } = verified;
        let all = (child_vk, proofs, preflights);
        let modules: [Module; 6] = [
            &|heights| upstream(&self.batch_constraint, all, &(records, powers.clone()), heights),
            &|heights| self.transcript.generate(child_vk, proofs, preflights, external, heights),
            &|heights| {
                upstream(&self.proof_shape, all, &(powers.clone(), external.range_check_inputs.as_slice()), heights)
            },
            &|heights| upstream(&self.gkr, all, &exponents, heights),
            &|heights| upstream(&self.stacking, all, &(), heights),
            &|heights| upstream(&self.whir, all, &exponents, heights),
        ];
        let made = modules.par_iter().zip(&heights).enumerate();
        let made = made.map(|(number, (module, heights))| Some(finish(number, module(*heights)?)));
        let made = made.collect::<Option<Vec<R>>>();
        let (mut made, count) = (made?, modules.len());
        // the tables of what the modules have looked up
        let [power_height, exponent_height] = [0, 1].map(|at| last_heights.map(|heights| heights[at]));
        if power_height.is_some_and(|height| height != POW_HEIGHT) {
            return None;
        }
        let tables = [powers.generate_trace_row_major(), exponents.generate_trace_row_major(exponent_height)?];
        let tables = tables.map(AirProvingContext::simple_no_pis);
        made.push(finish(count, tables.map(Trace::Host).into()));
        Some(made)
    }
}

/// What the circuit verifies, and what a verifier computes for it.
#[derive(Clone, Copy)]
struct Verified<'a> {
    child_vk: &'a MultiStarkVerifyingKey<SC>,
    proofs: &'a [Proof<SC>],
    /// One for each proof.
    preflights: &'a [Preflight],
}

/// Makes a module's traces, of the heights that they shall have.
type Module<'a> = &'a (dyn Fn(Option<&[usize]>) -> Option<Vec<Trace>> + Sync);

/// The traces of a module as upstream makes them.
fn upstream<'a, M: TraceGenModule<openvm_recursion_circuit::system::GlobalCtxCpu, HostBackend>>(
    module: &M,
    (child_vk, proofs, preflights): (&MultiStarkVerifyingKey<SC>, &[Proof<SC>], &[Preflight]),
    context: &M::ModuleSpecificCtx<'a>,
    heights: Option<&[usize]>,
) -> Option<Vec<Trace>> {
    let made: HostContexts = module.generate_proving_ctxs(child_vk, proofs, preflights, context, heights)?;
    Some(made.into_iter().map(Trace::Host).collect())
}

/// The heights that each module's traces shall have, and those of the tables behind them.
fn split<'a>(heights: Option<&'a [usize]>, counts: &[usize]) -> (Vec<Option<&'a [usize]>>, Option<&'a [usize]>) {
    let mut rest = heights;
    let split = |count: &usize| {
        let (module, others) = rest?.split_at(*count);
        rest = Some(others);
        Some(module)
    };
    let modules = counts.iter().map(split).collect();
    (modules, rest)
}

impl<const N: usize> AggregationSubCircuit for DeviceVerifier<N> {
    fn airs<C: StarkProtocolConfig<F = F>>(&self) -> Vec<AirRef<C>> {
        self.circuit.airs()
    }

    fn bus_inventory(&self) -> &BusInventory {
        self.circuit.bus_inventory()
    }

    fn next_bus_idx(&self) -> BusIndex {
        self.circuit.next_bus_idx()
    }

    fn max_num_proofs(&self) -> usize {
        N
    }
}

impl<const N: usize> VerifierTraceGen<WgpuBackend, SC, Gpu> for DeviceVerifier<N> {
    fn new(child_vk: Arc<MultiStarkVerifyingKey<SC>>, config: VerifierConfig) -> Self {
        Self::new(child_vk, config)
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
        VerifierTraceGen::<HostBackend, SC, ()>::cached_trace_record(&self.circuit, child_vk)
    }

    fn generate_proving_ctxs<TS: FiatShamirTranscript<SC> + TranscriptHistory<F = F, State = [F; POSEIDON2_WIDTH]>>(
        &self,
        child_vk: &MultiStarkVerifyingKey<SC>,
        cached: CachedTraceCtx<WgpuBackend>,
        proofs: &[Proof<SC>],
        external: &mut VerifierExternalData,
        gpu: &Gpu,
        transcript: TS,
    ) -> Option<Contexts> {
        assert!(proofs.len() <= N, "more proofs than the circuit has room for");
        let proofs_with_sponges: Vec<_> = proofs.iter().map(|proof| (proof, transcript.clone())).collect();
        let preflights = proofs_with_sponges.into_par_iter();
        let mut preflights: Vec<_> =
            preflights.map(|(proof, sponge)| self.preflight(sponge, child_vk, proof)).collect();
        if let Some(final_state) = &mut external.final_transcript_state {
            // a transcript ends with a sample, whose state the circuit hands on
            let state = *preflights[0].transcript.perm_results().last().expect("a verifier samples");
            **final_state = state;
            preflights[0].poseidon2_compress_inputs.push(state);
        }
        let records = match &cached {
            CachedTraceCtx::Records(records) => Some(records),
            CachedTraceCtx::PcsData(_) => None,
        };
        let finish =
            |_, traces: Vec<Trace>| -> Contexts { traces.into_iter().map(|trace| trace.on_device(gpu)).collect() };
        let made = self.traces(Verified { child_vk, proofs, preflights: &preflights }, records, external, finish)?;
        let mut contexts: Contexts = made.into_iter().flatten().collect();
        match cached {
            CachedTraceCtx::PcsData(committed) => contexts[CACHED_AIR].cached_mains = vec![committed],
            CachedTraceCtx::Records(records) => {
                let commit = records.dag_commit_info.expect("a circuit without a cached trace commits to it").commit;
                contexts[CACHED_AIR].public_values = commit.to_vec();
            }
        }
        Some(contexts)
    }
}

#[cfg(test)]
mod tests;
