//! App proofs: the segments of a guest's execution, proved while the next one executes.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use openvm_circuit::{
    arch::{
        execution_mode::metered::segment_ctx::Segment, instructions::exe::VmExe, ContinuationVmProof, Executor,
        MatrixRecordArena, MeteredExecutor, PreflightExecutor, Streams, SystemConfig, VirtualMachine,
        VirtualMachineError, VmBuilder, VmExecutionConfig,
    },
    system::{
        memory::{merkle::public_values::UserPublicValuesProof, CHUNK},
        program::trace::compute_exe_commit_from_mem_config,
    },
};
use openvm_sdk::{prover::vm::types::VmProvingKey, types::ExecutableFormat, SdkError, StdIn};
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{
    proof::Proof,
    prover::{CommittedTraceData, DeviceDataTransporter},
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, F};

use super::{
    kept::{KeptProofs, NothingKept, SegmentPlace},
    lanes::{share, DevicePk, Execution, Job},
    machine::DeviceChips,
    pipeline::pipeline,
    preflight::AirRecords,
    records::{ChipRecords, Pool},
    segments::{available_memory, Options},
    untrusted::{caught, check_exe, sdk as sdk_error},
    Engine, HostEngine, WgpuSdkOf, WgpuVmBuilder,
};
use crate::{error::with_causes, WgpuBackend, WgpuDevice};

type SC = BabyBearPoseidon2Config;

/// Proves executions of one program; upstream's `AppProver`, with errors where that panics and the host's work beside the device's.
pub struct AppProver<B = SdkVmCpuBuilder>
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>,
    B::SystemChipInventory: 'static,
{
    /// Meters executions; those who prepare segments have VMs of their own.
    vm: VirtualMachine<Engine, WgpuVmBuilder<B>>,
    host: B,
    /// The VM's key once more, which threads can share.
    pk: DevicePk,
    exe: Arc<VmExe<F>>,
    program: CommittedTraceData<WgpuBackend>,
    device: WgpuDevice,
    options: Options,
    chips: Arc<DeviceChips>,
    /// Memory for records, kept from proof to proof.
    pool: Pool,
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
        Self { segment, segments, instructions, cells: 0, execution, waiting, trace_generation, proving, kept: true }
    }
}

impl<B> AppProver<B>
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>,
    B::SystemChipInventory: 'static,
{
    /// The VM.
    pub fn vm(&self) -> &VirtualMachine<Engine, WgpuVmBuilder<B>> {
        &self.vm
    }

    /// The program.
    pub fn exe(&self) -> &Arc<VmExe<F>> {
        &self.exe
    }

    /// The device that proves.
    pub fn device(&self) -> &WgpuDevice {
        &self.device
    }

    /// The VM's memory and public values.
    pub fn system_config(&self) -> &SystemConfig {
        self.vm.config().as_ref()
    }

    /// The commitment to the program, its initial memory and its entry point, which a verifier knows it by.
    pub fn exe_commit(&self) -> Digest {
        let memory_config = &self.system_config().memory_config;
        compute_exe_commit_from_mem_config(&self.program.commitment, &self.exe, memory_config)
    }
}

impl<B> AppProver<B>
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>> + Clone + Send + Sync + 'static,
    B::VmConfig: Send + Sync + 'static,
    B::SystemChipInventory: 'static,
    <B::VmConfig as VmExecutionConfig<F>>::Executor:
        Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, ChipRecords>,
{
    /// A prover of `executable` on the default GPU, with the SDK's key, which is generated at the first use.
    ///
    /// # Errors
    ///
    /// [`ProveError::Sdk`] if there is no transpiler for an ELF or it fails; as [`AppProver::on_device`].
    pub fn new(sdk: &WgpuSdkOf<B>, executable: impl Into<ExecutableFormat>) -> Result<Self, ProveError> {
        let exe = caught(|| sdk.convert_to_exe(executable))
            .map_err(|reason| sdk_error(format!("not a program: {reason}")))??;
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
        caught(|| vm.preflight_interpreter(&exe).map(|_| ()))
            .map_err(|reason| sdk_error(format!("not a program for this VM: {reason}")))?
            .map_err(VirtualMachineError::from)?;
        // upstream's code has no way to return the device's error
        let program = caught(|| vm.commit_program_on_device(&exe.program))
            .map_err(|reason| sdk_error(format!("the device cannot commit to the program: {reason}")))?;
        let chips = uploads.chips().expect("a machine was built");
        let (options, pool) = (Options::default(), Pool::default());
        Ok(Self { vm, host, pk: pk_on_device, exe, program, device, options, chips, pool })
    }

    /// Proves up to `proofs` segments at once, as far as the device's memory allows. By default two, or one where there are few threads or
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

    /// Executes up to `segments` segments and prepares them at once, each on a thread with a VM of its own. By default as many as half of
    /// rayon's threads, as far as half of the host's memory holds them, and one where there are fewer than four threads.
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
        self.prove_each(input, kept, |report, _| progress(report))
    }

    /// As [`AppProver::prove_keeping`]; `ended` gets each segment's proof, too.
    pub(super) fn prove_each(
        &mut self,
        input: StdIn,
        kept: &dyn KeptProofs,
        ended: impl Fn(&SegmentReport, &Proof<SC>) + Sync,
    ) -> Result<ContinuationVmProof<SC>, ProveError> {
        // the first proof comes after executions and traces, which take longer than a card keeps its clocks
        let _warm = self.device.keep_warm();
        let input: Streams<F> = input.into();
        let segments = self.segments(input.clone())?;
        let places = SegmentPlace::all(&segments);
        kept.begin(&places);
        let mut public_values = kept.public_values();
        // the last one's traces have the tree that public values are opened in
        let has_end = |place: &&SegmentPlace| place.segment + 1 < places.len() || public_values.is_some();
        let there = |place: &SegmentPlace| Some(place).filter(has_end).and_then(|place| kept.segment(place));
        let mut proofs: Vec<_> = places.iter().map(there).collect();
        for (place, proof) in places.iter().zip(&proofs) {
            proof.iter().for_each(|proof| ended(&SegmentReport::of_kept(place), proof));
        }
        let missing: Vec<usize> = (0..places.len()).filter(|index| proofs[*index].is_none()).collect();
        if !missing.is_empty() {
            let prove = |report: &SegmentReport, proof: &Proof<SC>| {
                kept.keep_segment(&places[report.segment], proof);
                ended(report, proof);
            };
            let (end, proved) = self.prove_missing(&input, &segments, &missing, kept, prove)?;
            if proved.len() < missing.len() {
                let proved = places.len() - missing.len() + proved.len();
                return Err(ProveError::Stopped { proved, segments: places.len() });
            }
            missing.into_iter().zip(proved).for_each(|(index, proof)| proofs[index] = Some(proof));
            end.iter().for_each(|values| kept.keep_public_values(values));
            public_values = end.or(public_values);
        }
        let user_public_values = public_values.expect("opened behind the last segment, or kept");
        Ok(ContinuationVmProof { per_segment: proofs.into_iter().flatten().collect(), user_public_values })
    }

    /// Proves the segments `missing`, in their order; fewer if `kept` stops it. With them comes the opening of the public values, if the last
    /// segment is among them.
    #[allow(clippy::type_complexity)]
    fn prove_missing(
        &self,
        input: &Streams<F>,
        segments: &[Segment],
        missing: &[usize],
        kept: &dyn KeptProofs,
        ended: impl Fn(&SegmentReport, &Proof<SC>) + Sync,
    ) -> Result<(Option<UserPublicValuesProof<CHUNK, F>>, Vec<Proof<SC>>), ProveError> {
        let execution = Execution { missing, kept, ..self.execution(input, segments) };
        let (bytes, memory) = (execution.most_host_bytes(), available_memory(self.device.gpu()));
        let threads = self.options.threads(missing.len(), bytes, memory, rayon::current_num_threads());
        let execution = Execution { lanes: threads.lanes, ..execution };
        let (pk, device) = (&self.pk, &self.device);
        let prove = |job: Job| {
            let (proof, report) = prove_job(device, pk, job)?;
            ended(&report, &proof);
            Ok(proof)
        };
        let (ends, proved) = thread::scope(|scope| {
            // beside the first segments' executions
            scope.spawn(|| device.gpu().compile_ahead(execution.kernels()));
            pipeline(threads, |lane, queue| execution.prepare(lane, &queue), prove)
        })?;
        Ok((ends.into_iter().flatten().next(), proved))
    }

    /// Executes the program and says what its segments would need, without proving anything.
    ///
    /// # Errors
    ///
    /// [`ProveError::Vm`] if the execution fails.
    pub fn meter(&self, input: StdIn) -> Result<Vec<MeteredSegment>, ProveError> {
        let input: Streams<F> = input.into();
        let segments = self.segments(input.clone())?;
        let execution = self.execution(&input, &segments);
        Ok(segments.iter().map(|segment| execution.metered(segment)).collect())
    }

    /// Executes the program to find its segments.
    fn segments(&self, input: Streams<F>) -> Result<Vec<Segment>, VirtualMachineError> {
        let (vm, exe) = (&self.vm, &self.exe);
        let most = self.system_config().segmentation_max_memory;
        let memory = self.options.segment_memory(most, rayon::current_num_threads());
        let metering = vm.build_metered_ctx(exe).with_max_memory(memory);
        let (segments, _) = vm.metered_interpreter(exe)?.execute_metered(input, metering)?;
        Ok(segments)
    }

    /// What is known of the AIRs' records.
    fn airs(&self) -> Vec<AirRecords> {
        let airs = &self.pk.per_air;
        let widths = airs.iter().map(|air| air.vk.params.width.main_width());
        let kernels = self.chips.kernels_by_air(airs.len());
        widths.zip(kernels).map(|(width, kernel)| AirRecords { width, kernel }).collect()
    }

    fn execution<'a>(&'a self, input: &'a Streams<F>, segments: &'a [Segment]) -> Execution<'a, B> {
        Execution {
            host: &self.host,
            vm_config: self.vm.config(),
            device: &self.device,
            pk: &self.pk,
            exe: &self.exe,
            program: &self.program,
            input,
            segments,
            missing: &[],
            kept: &NothingKept,
            lanes: 1,
            airs: self.airs(),
            tables: self.chips.tables(),
            pool: &self.pool,
        }
    }
}

/// Proves a segment that is ready.
fn prove_job(device: &WgpuDevice, pk: &DevicePk, job: Job) -> Result<(Proof<SC>, SegmentReport), ProveError> {
    let Job { context, admission, mut report, ready } = job;
    report.waiting += ready.elapsed();
    let start = Instant::now();
    let engine: Engine = Engine::from_device(device.under(&admission));
    let proof = engine.prove(pk, context).map_err(|error| ProveError::Segment { segment: report.segment, error })?;
    report.proving = start.elapsed();
    Ok((proof, report))
}

#[cfg(test)]
mod tests;
