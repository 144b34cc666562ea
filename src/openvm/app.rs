//! App proofs: the segments of a guest's execution, proved while the next one executes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openvm_circuit::{
    arch::{
        execution_mode::metered::segment_ctx::Segment, hasher::poseidon2::vm_poseidon2_hasher,
        instructions::exe::VmExe, ContinuationVmProof, Executor, MeteredExecutor, PreflightExecutionOutput,
        PreflightExecutor, Streams, SystemConfig, VirtualMachine, VirtualMachineError, VmBuilder, VmExecutionConfig,
        VmInstance, VmState,
    },
    system::{
        memory::{merkle::public_values::UserPublicValuesProof, online::GuestMemory},
        program::trace::compute_exe_commit_from_mem_config,
    },
};
use openvm_sdk::{prover::vm::types::VmProvingKey, types::ExecutableFormat, SdkError, StdIn};
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{
    memory_metering::ProvingMemoryCounts,
    proof::Proof,
    prover::{DeviceDataTransporter, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext},
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};
use openvm_transpiler::{elf::Elf, openvm_platform::memory::MEM_SIZE};

use super::{builder::Uploads, pipeline::pipeline, Engine, HostEngine, WgpuSdk, WgpuVmBuilder};
use crate::{gpu::Admission, WgpuBackend, WgpuDevice};

type SC = BabyBearPoseidon2Config;
type DevicePk = DeviceMultiStarkProvingKey<WgpuBackend>;
type State = VmState<F, GuestMemory>;

/// Proves executions of one program; upstream's `AppProver`, with errors where that panics and the host's work beside the device's.
pub struct AppProver<B = SdkVmCpuBuilder>
where
    B: VmBuilder<HostEngine>,
    B::RecordArena: 'static,
{
    instance: VmInstance<Engine, WgpuVmBuilder<B>>,
    /// The VM's key once more: proofs read it while the VM generates the traces of the next segment.
    pk: DevicePk,
    device: WgpuDevice,
    uploads: Uploads,
    proofs_at_once: usize,
}

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The program does not fit the VM, or its execution failed: a trap, an exit code, input that is missing.
    #[error(transparent)]
    Vm(#[from] VirtualMachineError),
    /// The SDK could not make a program of what it got.
    #[error(transparent)]
    Sdk(#[from] SdkError),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] crate::Error),
    /// A segment could not be proved.
    #[error("segment {segment}: {source}")]
    Segment {
        /// Its number, from 0.
        segment: usize,
        /// Why.
        source: crate::Error,
    },
}

/// One proved segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentReport {
    /// Its number, from 0.
    pub segment: usize,
    /// How many there are.
    pub segments: usize,
    /// Instructions that it executes.
    pub instructions: u64,
    /// Cells of its traces as metered, preprocessed and cached ones included.
    pub cells: usize,
    /// Execution on the host.
    pub execution: Duration,
    /// Until the device had room for the segment's proof.
    pub waiting: Duration,
    /// Trace generation on the host, with the upload.
    pub trace_generation: Duration,
    /// `StarkEngine::prove`.
    pub proving: Duration,
}

/// A segment that is ready to be proved, with room for its proof.
struct Job {
    context: ProvingContext<WgpuBackend>,
    admission: Admission,
    report: SegmentReport,
}

impl<B> AppProver<B>
where
    B: VmBuilder<HostEngine>,
    B::RecordArena: 'static,
{
    /// The VM with its program.
    pub fn instance(&self) -> &VmInstance<Engine, WgpuVmBuilder<B>> {
        &self.instance
    }

    /// The device that proves.
    pub fn device(&self) -> &WgpuDevice {
        &self.device
    }

    /// The VM's memory and public values.
    pub fn system_config(&self) -> &SystemConfig {
        self.instance.vm.config().as_ref()
    }

    /// The commitment to the program, its initial memory and its entry point, which a verifier knows it by.
    pub fn exe_commit(&self) -> Digest {
        let memory_config = &self.system_config().memory_config;
        compute_exe_commit_from_mem_config(self.instance.program_commitment(), self.instance.exe(), memory_config)
    }
}

impl<B> AppProver<B>
where
    B: VmBuilder<HostEngine> + Clone,
    B::RecordArena: 'static,
    <B::VmConfig as VmExecutionConfig<F>>::Executor:
        Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, B::RecordArena>,
{
    /// A prover of `executable` on the default GPU, with the SDK's key, which is generated at the first use.
    ///
    /// # Errors
    ///
    /// [`ProveError::Sdk`] if there is no transpiler for an ELF or it fails; as [`AppProver::on_device`].
    pub fn new(sdk: &WgpuSdk<B>, executable: impl Into<ExecutableFormat>) -> Result<Self, ProveError> {
        let pk = &sdk.app_pk().app_vm_pk;
        let device = WgpuDevice::shared(pk.get_params())?;
        Self::on_device(device, sdk.app_vm_builder().host().clone(), pk, sdk.convert_to_exe(executable)?)
    }

    /// A prover of `exe` on a device of the key's parameters, with the machine that `host` builds; commits the program.
    ///
    /// # Errors
    ///
    /// [`ProveError::Vm`] if the program has instructions that the VM does not know.
    ///
    /// # Panics
    ///
    /// If the device cannot commit to the program: upstream's code, which does that, has no way to return the error.
    pub fn on_device(
        device: WgpuDevice,
        host: B,
        pk: &VmProvingKey<B::VmConfig>,
        exe: Arc<VmExe<F>>,
    ) -> Result<Self, ProveError> {
        let device_pk = device.transport_pk_to_device(&pk.vm_pk);
        let builder = WgpuVmBuilder::new(host);
        let uploads = builder.uploads().clone();
        let shared_pk = share(&device_pk);
        let vm = VirtualMachine::new(Engine::from_device(device.clone()), builder, pk.vm_config.clone(), device_pk)?;
        let program = vm.commit_program_on_device(&exe.program);
        let instance = VmInstance::new(vm, exe, program).map_err(VirtualMachineError::from)?;
        Ok(Self { instance, pk: shared_pk, device, uploads, proofs_at_once: 1 })
    }

    /// Proves up to `proofs` segments at once, as far as the device's memory allows; 1 by default.
    ///
    /// # Panics
    ///
    /// If `proofs` is 0.
    pub fn proofs_at_once(mut self, proofs: usize) -> Self {
        assert!(proofs > 0, "no proof at all");
        self.proofs_at_once = proofs;
        self
    }

    /// Executes the program on `input` and proves each segment.
    ///
    /// # Errors
    ///
    /// [`ProveError::Vm`] if the execution fails, [`ProveError::Segment`] if a proof does. The prover stays usable.
    pub fn prove(&mut self, input: StdIn) -> Result<ContinuationVmProof<SC>, ProveError> {
        self.prove_with(input, |_| ())
    }

    /// As [`AppProver::prove`]; calls `progress` after each segment, in the order in which they end, from the thread that proved it.
    ///
    /// # Errors
    ///
    /// As [`AppProver::prove`].
    pub fn prove_with(
        &mut self,
        input: StdIn,
        progress: impl Fn(&SegmentReport) + Sync,
    ) -> Result<ContinuationVmProof<SC>, ProveError> {
        let input: Streams<F> = input.into();
        let segments = self.segments(input.clone())?;
        if self.instance.state().is_none() {
            // an execution that failed has taken it along
            *self.instance.state_mut() = Some(self.instance.vm.create_initial_state(self.instance.exe(), vec![]));
        }
        self.instance.reset_state(input);
        let state = self.instance.state_mut().take().expect("there is a state");
        let (per_segment, state) = self.prove_segments(&segments, state, &progress)?;
        let vm = &self.instance.vm;
        let system = self.system_config();
        let user_public_values = UserPublicValuesProof::compute(
            system.memory_config.memory_dimensions(),
            system.num_public_values,
            &vm_poseidon2_hasher(),
            &state.memory.memory,
            vm.memory_top_tree().expect("traces of the memory were generated"),
        );
        *self.instance.state_mut() = Some(state);
        Ok(ContinuationVmProof { per_segment, user_public_values })
    }

    /// Executes the program to find its segments.
    fn segments(&self, input: Streams<F>) -> Result<Vec<Segment>, VirtualMachineError> {
        let (vm, exe) = (&self.instance.vm, self.instance.exe());
        let (segments, _) = vm.metered_interpreter(exe)?.execute_metered(input, vm.build_metered_ctx(exe))?;
        Ok(segments)
    }

    /// Executes the segments in order and generates their traces, while the ones before are proved.
    fn prove_segments(
        &mut self,
        segments: &[Segment],
        state: State,
        progress: &(impl Fn(&SegmentReport) + Sync),
    ) -> Result<(Vec<Proof<SC>>, State), ProveError> {
        let Self { instance, pk, device, uploads, proofs_at_once } = self;
        let (pk, device): (&DevicePk, &WgpuDevice) = (pk, device);
        let mut state = Some(state);
        let jobs = (0..segments.len()).map(|index| {
            let from = state.take().expect("the segment before leaves one");
            let (job, to) = next_job(instance, (device, uploads), from, (index, segments))?;
            state = Some(to);
            Ok::<_, ProveError>(job)
        });
        let proofs = pipeline(*proofs_at_once, jobs, |Job { context, admission, mut report }: Job| {
            let start = Instant::now();
            let engine: Engine = Engine::from_device(device.under(&admission));
            let proof =
                engine.prove(pk, context).map_err(|source| ProveError::Segment { segment: report.segment, source })?;
            report.proving = start.elapsed();
            progress(&report);
            Ok(proof)
        })?;
        Ok((proofs, state.expect("the last segment leaves one")))
    }
}

/// Executes segment `index` and, once there is room for its proof, generates its traces.
fn next_job<B>(
    instance: &mut VmInstance<Engine, WgpuVmBuilder<B>>,
    (device, uploads): (&WgpuDevice, &Uploads),
    state: State,
    (index, segments): (usize, &[Segment]),
) -> Result<(Job, State), ProveError>
where
    B: VmBuilder<HostEngine>,
    B::RecordArena: 'static,
    <B::VmConfig as VmExecutionConfig<F>>::Executor: PreflightExecutor<F, B::RecordArena>,
{
    let VmInstance { vm, interpreter, .. } = instance;
    let segment = &segments[index];
    let counts = counts(vm.pk(), segment);
    let start = Instant::now();
    vm.transport_init_memory_to_device(&state.memory);
    let executed = vm.execute_preflight(interpreter, state, Some(segment.num_insns), &segment.trace_heights);
    let PreflightExecutionOutput { system_records, record_arenas, to_state } =
        executed.map_err(VirtualMachineError::from)?;
    let execution = start.elapsed();

    // for all of it at once, so that proofs under way never wait for each other
    let start = Instant::now();
    let admission = device.admit(device.proof_bytes(counts));
    let waiting = start.elapsed();

    let start = Instant::now();
    let gpu = device.gpu().under(&admission);
    let context = uploads.through(gpu, || vm.generate_proving_ctx(system_records, record_arenas));
    let report = SegmentReport {
        segment: index,
        segments: segments.len(),
        instructions: segment.num_insns,
        cells: counts.main_cells(),
        execution,
        waiting,
        trace_generation: start.elapsed(),
        proving: Duration::ZERO,
    };
    Ok((Job { context: context.map_err(VirtualMachineError::from)?, admission, report }, to_state))
}

/// What a segment's memory depends on, by its metered trace heights.
fn counts(pk: &DevicePk, segment: &Segment) -> ProvingMemoryCounts {
    let mut counts = ProvingMemoryCounts::default();
    for (air, &height) in pk.per_air.iter().zip(&segment.trace_heights).filter(|(_, height)| **height > 0) {
        let height = (height as usize).next_power_of_two();
        let cells = height * air.vk.params.width.total_width();
        match air.vk.params.need_rot {
            true => counts.main_cells_with_rot += cells,
            false => counts.main_cells_without_rot += cells,
        }
        counts.interaction_cells += height * air.vk.symbolic_constraints.interactions.len();
    }
    counts
}

/// An ELF, which the SDK's own conversion would panic on if it is none.
///
/// # Errors
///
/// [`ProveError::Sdk`] with what is wrong about it.
pub fn decode_elf(bytes: &[u8]) -> Result<Elf, ProveError> {
    Elf::decode(bytes, MEM_SIZE as u32).map_err(|error| SdkError::Other(error.wrap_err("not a guest's ELF")).into())
}

/// A second handle to what a key has on the device.
fn share(pk: &DevicePk) -> DevicePk {
    let share_air = |air: &DeviceStarkProvingKey<WgpuBackend>| DeviceStarkProvingKey {
        air_name: air.air_name.clone(),
        vk: air.vk.clone(),
        preprocessed_data: air.preprocessed_data.clone(),
        other_data: air.other_data.clone(),
    };
    DevicePk::new(
        pk.per_air.iter().map(share_air).collect(),
        pk.trace_height_constraints.clone(),
        pk.max_constraint_degree,
        pk.params.clone(),
        pk.vk_pre_hash,
    )
}
