//! App proofs: the segments of a guest's execution, proved while the next one executes.

use std::{sync::Arc, time::Duration};

use openvm_circuit::{
    arch::{
        execution_mode::metered::segment_ctx::Segment, instructions::exe::VmExe, ContinuationVmProof, ExecutionError,
        ExitCode, Streams, SystemConfig, VirtualMachine, VirtualMachineError, VmExecState, VmExecutionConfig,
    },
    system::program::trace::compute_exe_commit_from_mem_config,
};
use openvm_sdk::{prover::vm::types::VmProvingKey, types::ExecutableFormat, SdkError, StdIn};
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{
    keygen::types::MultiStarkProvingKey,
    prover::{CommittedTraceData, DeviceDataTransporter},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};

use super::{
    kept::{KeptProofs, NothingKept},
    lanes::{share, DevicePk, Execution},
    machine::DeviceChips,
    metered::Metered,
    preflight::{AirRecords, Interpreter},
    records::Pool,
    segments::Options,
    untrusted::{check_exe, sdk as sdk_error, transpile},
    Engine, HostVmBuilder, WgpuSdkOf, WgpuVmBuilder,
};
use crate::{
    error::{caught, with_causes},
    fleet::SegmentPlace,
    WgpuBackend, WgpuDevice,
};

type SC = BabyBearPoseidon2Config;

mod ahead;
pub(super) mod segments;

/// With which a program ends that has not failed.
const SUCCESS: u32 = ExitCode::Success as u32;

/// Proves executions of one program; upstream's `AppProver`, with errors where that panics and the host's work beside the device's, on one
/// device or several ([`AppProver::also_on`]).
pub struct AppProver<B: HostVmBuilder = SdkVmCpuBuilder> {
    /// Meters executions; those who prepare segments have VMs of their own.
    vm: VirtualMachine<Engine, WgpuVmBuilder<B>>,
    host: B,
    /// The VM's key, for other devices.
    key: Arc<MultiStarkProvingKey<SC>>,
    exe: Arc<VmExe<F>>,
    /// The devices that prove; the VM is on the first.
    devices: Vec<OnDevice>,
    options: Options,
    chips: Arc<DeviceChips>,
    /// Memory for records, kept from proof to proof.
    pool: Pool,
}

/// What a device has of a program.
struct OnDevice {
    device: WgpuDevice,
    /// The VM's key, which threads can share.
    pk: DevicePk,
    program: CommittedTraceData<WgpuBackend>,
}

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The program does not fit the VM, or its execution failed: a trap, an exit code, input that is missing.
    #[error("{}", with_causes(.0))]
    Vm(VirtualMachineError),
    /// The SDK could not make a program of what it got.
    #[error("{}", with_causes(.0))]
    Sdk(SdkError),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] crate::Error),
    /// A segment could not be proved.
    #[error("segment {segment}: {}", with_causes(.error))]
    Segment {
        /// Its number, from 0.
        segment: usize,
        /// Why.
        error: crate::Error,
    },
    /// No device is left that could prove what is missing, or has the memory for it.
    #[error("{0}")]
    NoDevice(String),
    /// [`KeptProofs::stops`] said so; what was proved is kept.
    #[error("stopped as asked, with {proved} of {segments} segments proved")]
    Stopped {
        /// Segments whose proofs are there.
        proved: usize,
        /// How many there are.
        segments: usize,
    },
    /// The same, between the proofs of an aggregation.
    #[error("stopped as asked, in the aggregation")]
    StoppedAggregation,
}

// not as a source, of which the text has everything already
impl From<VirtualMachineError> for ProveError {
    fn from(error: VirtualMachineError) -> Self {
        Self::Vm(error)
    }
}

impl From<SdkError> for ProveError {
    fn from(error: SdkError) -> Self {
        Self::Sdk(error)
    }
}

/// One proved segment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SegmentReport {
    /// Its number, from 0.
    pub segment: usize,
    /// How many there are.
    pub segments: usize,
    /// Instructions that it executes.
    pub instructions: u64,
    /// Cells of its traces as metered, preprocessed and cached ones included.
    pub cells: usize,
    /// Execution on the host, with that of the segments since the one that the same thread prepared before.
    pub execution: Duration,
    /// Until the device had room for the segment's proof, and until it took the proof up.
    pub waiting: Duration,
    /// Trace generation on the host, with the upload.
    pub trace_generation: Duration,
    /// `StarkEngine::prove`.
    pub proving: Duration,
    /// Whether the proof was there already ([`KeptProofs`]), so that nothing took any time.
    pub kept: bool,
    /// The number of the device that proved it ([`AppProver::devices`]); `None` if it was kept.
    pub device: Option<usize>,
}

/// What the proof of a segment would need.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MeteredSegment {
    /// Instructions that it executes.
    pub instructions: u64,
    /// Cells of its traces.
    pub cells: u64,
    /// Device memory that its proof takes at most, with its traces, bytes.
    pub device_bytes: u64,
    /// Memory of the host that its records take at most, bytes.
    pub host_bytes: u64,
}

impl SegmentReport {
    /// Of a segment whose proof is there.
    fn of_kept(place: &SegmentPlace) -> Self {
        let SegmentPlace { segment, segments, instructions, .. } = *place;
        let [execution, waiting, trace_generation, proving] = [Duration::ZERO; 4];
        let (cells, kept, device) = (0, true, None);
        Self { segment, segments, instructions, cells, execution, waiting, trace_generation, proving, kept, device }
    }
}

impl<B: HostVmBuilder> AppProver<B> {
    /// The VM.
    pub fn vm(&self) -> &VirtualMachine<Engine, WgpuVmBuilder<B>> {
        &self.vm
    }

    /// The program.
    pub fn exe(&self) -> &Arc<VmExe<F>> {
        &self.exe
    }

    /// The device that proves, the first one if there are several.
    pub fn device(&self) -> &WgpuDevice {
        &self.devices[0].device
    }

    /// All devices that prove; reports have their numbers.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &WgpuDevice> {
        self.devices.iter().map(|on| &on.device)
    }

    /// The VM's memory and public values.
    pub fn system_config(&self) -> &SystemConfig {
        self.vm.config().as_ref()
    }

    /// The commitment to the program, its initial memory and its entry point, which a verifier knows it by.
    pub fn exe_commit(&self) -> Digest {
        let memory_config = &self.system_config().memory_config;
        compute_exe_commit_from_mem_config(&self.devices[0].program.commitment, &self.exe, memory_config)
    }

    /// A prover of `executable` on the default GPU, with the SDK's key, which is generated at the first use.
    ///
    /// # Errors
    ///
    /// [`ProveError::Sdk`] if there is no transpiler for an ELF or it fails; as [`AppProver::on_device`].
    pub fn new(sdk: &WgpuSdkOf<B>, executable: impl Into<ExecutableFormat>) -> Result<Self, ProveError> {
        let exe = transpile(sdk, executable)?;
        let pk = &sdk.app_pk().app_vm_pk;
        let device = WgpuDevice::shared(pk.get_params())?;
        Self::on_device(device, sdk.app_vm_builder().host().clone(), pk, exe)
    }

    /// A prover of `exe` on a device of the key's parameters, with the machine that `host` builds; commits the program.
    ///
    /// # Errors
    ///
    /// [`ProveError::Sdk`] for what is no program, does not lie where programs do, or has more instructions than the parameters have rows, and
    /// with what the device said if it cannot commit to the program; [`ProveError::Vm`] if the program has instructions that the VM does not
    /// know.
    pub fn on_device(
        device: WgpuDevice,
        host: B,
        pk: &VmProvingKey<B::VmConfig>,
        exe: Arc<VmExe<F>>,
    ) -> Result<Self, ProveError> {
        check_exe(&exe, pk.vm_config.as_ref(), device.params())?;
        let pk_on_device = device.transport_pk_to_device(&pk.vm_pk);
        let (engine, builder) = (Engine::from_device(device.clone()), WgpuVmBuilder::new(host.clone()));
        let uploads = builder.uploads().clone();
        let vm = VirtualMachine::new(engine, builder, pk.vm_config.clone(), share(&pk_on_device))?;
        // what the VM cannot execute is known now
        let executors = VmExecutionConfig::<F>::create_executors(&pk.vm_config).map_err(VirtualMachineError::from)?;
        caught(|| Interpreter::new(&exe.program, executors, &vm.executor_idx_to_air_idx()).map(|_| ()))
            .map_err(|reason| sdk_error(format!("not a program for this VM: {reason}")))?
            .map_err(VirtualMachineError::from)?;
        let chips = uploads.chips().expect("a machine was built");
        let (options, pool) = (Options::default(), Pool::default());
        let devices = vec![OnDevice::new(device, pk_on_device, &vm, &exe)?];
        Ok(Self { vm, host, key: pk.vm_pk.clone(), exe, devices, options, chips, pool })
    }

    /// The same prover, which proves on `device`, too, whatever that one's parameters: each segment on the device that is free first and has the
    /// memory. The proofs are the same, and a device that is lost does no harm as long as another one is left. Devices may be of different sizes;
    /// [`fit_segments`](super::fit_segments) is asked for the smallest one that shall prove.
    ///
    /// # Errors
    ///
    /// As [`AppProver::on_device`].
    pub fn also_on(mut self, device: &WgpuDevice) -> Result<Self, ProveError> {
        let device = device.with_params(self.device().params().clone())?;
        let pk = device.transport_pk_to_device(&self.key);
        let (engine, builder) = (Engine::from_device(device.clone()), WgpuVmBuilder::new(self.host.clone()));
        let vm = VirtualMachine::new(engine, builder, self.vm.config().clone(), share(&pk))?;
        self.devices.push(OnDevice::new(device, pk, &vm, &self.exe)?);
        Ok(self)
    }

    /// Proves up to `proofs` segments at once on each device, as far as its memory allows. By default two, or one where there are few threads or
    /// segments.
    ///
    /// # Panics
    ///
    /// If `proofs` is 0.
    pub fn proofs_at_once(mut self, proofs: usize) -> Self {
        assert!(proofs > 0, "no proof at all");
        self.options.proofs = Some(proofs);
        self
    }

    /// Executes up to `segments` segments for each device and prepares them at once, each on a thread with a VM of its own. By default as many as
    /// half of rayon's threads, as far as half of the host's memory holds them, shared among the devices, and one where there are fewer than
    /// four threads.
    ///
    /// Each thread holds the records of a segment in the host's memory, 50 bytes an instruction, and those of chips that make their traces on
    /// the host, 4 bytes a cell. Traces are made when the device has room for the segment's proof, records before.
    ///
    /// # Panics
    ///
    /// If `segments` is 0.
    pub fn traces_at_once(mut self, segments: usize) -> Self {
        assert!(segments > 0, "no segment at all");
        self.options.traces = Some(segments);
        self
    }

    /// Cuts segments where upstream's estimate of their memory reaches `bytes`. By default that is the configuration's
    /// `segmentation_max_memory`, or 4 GiB if that is less and there are four threads or more.
    pub fn segment_memory(mut self, bytes: usize) -> Self {
        self.options.segment_memory = Some(bytes);
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
        self.prove_keeping(input, &NothingKept, progress)
    }

    /// As [`AppProver::prove_with`]; segments whose proofs `kept` has are not proved again, and it gets those of the others.
    ///
    /// # Errors
    ///
    /// As [`AppProver::prove`]; [`ProveError::Stopped`] if `kept` says so.
    pub fn prove_keeping(
        &mut self,
        input: StdIn,
        kept: &dyn KeptProofs,
        progress: impl Fn(&SegmentReport) + Sync,
    ) -> Result<ContinuationVmProof<SC>, ProveError> {
        let proved = self.prove_tasks(input, kept, &progress, None);
        proved.map(|(proof, _)| proof).map_err(|error| match error.downcast() {
            Ok(error) => error,
            Err(other) => ProveError::NoDevice(format!("{other:#}")),
        })
    }

    /// Executes the program and says what its segments would need, without proving anything.
    ///
    /// # Errors
    ///
    /// [`ProveError::Vm`] if the execution fails.
    pub fn meter(&self, input: StdIn) -> Result<Vec<MeteredSegment>, ProveError> {
        let input: Streams<F> = input.into();
        let segments = Metered::default();
        self.find_segments(input.clone(), |segment, _| segments.push(segment))?;
        let execution = self.execution(0, &input, &segments, &NothingKept);
        Ok(execution.segments().iter().map(|segment| execution.metered(segment)).collect())
    }

    /// Executes the program to find its segments, of which each is told as soon as it is known, with whether the execution goes on.
    fn find_segments(
        &self,
        input: Streams<F>,
        mut found: impl FnMut(Segment, bool),
    ) -> Result<(), VirtualMachineError> {
        let (vm, exe) = (&self.vm, &self.exe);
        let most = self.system_config().segmentation_max_memory;
        let memory = self.options.segment_memory(most, rayon::current_num_threads());
        let metering = vm.build_metered_ctx(exe).with_max_memory(memory).with_suspend_on_segment(true);
        let interpreter = vm.metered_interpreter(exe)?;
        let mut state = VmExecState::new(interpreter.create_initial_vm_state(input), metering);
        let mut told = 0;
        loop {
            state = interpreter.execute_metered_until_suspend(state)?;
            let segments = &state.ctx.segments()[told..];
            told += segments.len();
            let goes_on = matches!(state.exit_code, Ok(None));
            segments.iter().for_each(|segment| found(segment.clone(), goes_on));
            match state.exit_code {
                Ok(None) => (),
                Ok(Some(SUCCESS)) => return Ok(()),
                Ok(Some(code)) => return Err(ExecutionError::FailedWithExitCode(code).into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is known of the AIRs' records.
    fn airs(&self) -> Vec<AirRecords> {
        let airs = &self.devices[0].pk.per_air;
        let widths = airs.iter().map(|air| air.vk.params.width.main_width());
        let kernels = self.chips.kernels_by_air(airs.len());
        widths.zip(kernels).map(|(width, kernel)| AirRecords { width, kernel }).collect()
    }

    /// An execution on device `number`.
    fn execution<'a>(
        &'a self,
        number: usize,
        input: &'a Streams<F>,
        segments: &'a Metered,
        kept: &'a dyn KeptProofs,
    ) -> Execution<'a, B> {
        let OnDevice { device, pk, program } = &self.devices[number];
        let (host, vm_config, exe, pool) = (&self.host, self.vm.config(), &self.exe, &self.pool);
        let (airs, tables) = (self.airs(), self.chips.tables());
        Execution { host, vm_config, number, device, pk, exe, program, input, segments, kept, airs, tables, pool }
    }
}

impl OnDevice {
    /// Commits to the program on the device of `vm`.
    fn new<B: HostVmBuilder>(
        device: WgpuDevice,
        pk: DevicePk,
        vm: &VirtualMachine<Engine, WgpuVmBuilder<B>>,
        exe: &VmExe<F>,
    ) -> Result<Self, ProveError> {
        // upstream's code has no way to return the device's error
        let program = caught(|| vm.commit_program_on_device(&exe.program))
            .map_err(|reason| sdk_error(format!("the device cannot commit to the program: {reason}")))?;
        Ok(Self { device, pk, program })
    }
}

#[cfg(test)]
mod tests;
