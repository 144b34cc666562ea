//! Segments on their way to their proofs: the host's part, on several threads.
//!
//! Each thread, a *lane*, has a VM and a state of its own, takes every `lanes`-th segment and goes from one to the next by executing what lies
//! between without records. That is cheap: 250 M instructions a second, against 8 M with records (2 cores of a server). To hand out
//! states from one execution instead would mean to copy the guest's memory for each segment, which costs as much as 100 M
//! instructions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openvm_circuit::{
    arch::{
        execution_mode::metered::segment_ctx::Segment, hasher::poseidon2::vm_poseidon2_hasher,
        instructions::exe::VmExe, ExecutionError, Executor, MatrixRecordArena, PreflightExecutionOutput,
        PreflightExecutor, Streams, SystemConfig, VirtualMachine, VirtualMachineError, VmBuilder, VmExecutionConfig,
        VmExecutor, VmInstance, VmState,
    },
    system::memory::{merkle::public_values::UserPublicValuesProof, online::GuestMemory, CHUNK},
};
use openvm_stark_backend::prover::{
    CommittedTraceData, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{
    builder::Uploads,
    kept::KeptProofs,
    pipeline::Queue,
    preflight::{preflight, AirRecords},
    records::{ChipRecords, Pool},
    Engine, HostEngine, MeteredSegment, ProveError, SegmentReport, WgpuVmBuilder,
};
use crate::{
    gpu::{Admission, KernelDecl},
    kernels::openvm::{Counts, Tables},
    memory::ProofShape,
    WgpuBackend, WgpuDevice,
};

pub(super) type DevicePk = DeviceMultiStarkProvingKey<WgpuBackend>;
type State = VmState<F, GuestMemory>;
type Instance<B> = VmInstance<Engine, WgpuVmBuilder<B>>;

/// An execution whose segments are known; what its lanes share.
pub(super) struct Execution<'a, B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>> {
    pub host: &'a B,
    pub vm_config: &'a B::VmConfig,
    pub device: &'a WgpuDevice,
    pub pk: &'a DevicePk,
    pub exe: &'a Arc<VmExe<F>>,
    pub program: &'a CommittedTraceData<WgpuBackend>,
    pub input: &'a Streams<F>,
    pub segments: &'a [Segment],
    /// Numbers of the segments to prove.
    pub missing: &'a [usize],
    /// Says when to stop.
    pub kept: &'a dyn KeptProofs,
    pub lanes: usize,
    /// Memory for records.
    pub pool: &'a Pool,
    pub airs: Vec<AirRecords>,
    /// The lookup tables that chips on the device count in.
    pub tables: Option<Tables>,
}

/// A segment that is ready to be proved, with room for its proof.
pub(super) struct Job {
    pub context: ProvingContext<WgpuBackend>,
    pub admission: Admission,
    pub report: SegmentReport,
    /// Since when.
    pub ready: Instant,
}

impl<B> Execution<'_, B>
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>> + Clone + Sync,
    B::VmConfig: Sync,
    B::SystemChipInventory: 'static,
    <B::VmConfig as VmExecutionConfig<F>>::Executor: Executor<F> + PreflightExecutor<F, ChipRecords>,
{
    /// Prepares the missing segments `lane`, `lane + lanes`, ..; returns the public values if the execution's last segment is among them.
    pub(super) fn prepare(
        &self,
        lane: usize,
        queue: &Queue<Job>,
    ) -> Result<Option<UserPublicValuesProof<CHUNK, F>>, ProveError> {
        let (mut instance, uploads) = self.instance()?;
        let mut state = instance.state_mut().take().expect("an instance begins with one");
        state.streams = self.input.clone();
        // another one, since the VM changes while it is in use
        let executor = VmExecutor::new(self.vm_config.clone()).map_err(VirtualMachineError::from)?;
        let interpreter = executor.instance(self.exe).map_err(VirtualMachineError::from)?;
        let skip = |state: State, segments: &[Segment]| -> Result<State, ExecutionError> {
            let instructions = segments.iter().map(|segment| segment.num_insns).sum();
            if instructions > 0 {
                interpreter.execute_from_state(state, Some(instructions))
            } else {
                Ok(state)
            }
        };
        let mut at = 0;
        for number in (lane..self.missing.len()).step_by(self.lanes) {
            let (index, start) = (self.missing[number], Instant::now());
            if self.kept.stops() {
                return Ok(None);
            }
            state = skip(state, &self.segments[at..index]).map_err(VirtualMachineError::from)?;
            if queue.has_failed() {
                return Ok(None);
            }
            let (job, to) = self.job(&mut instance, &uploads, state, (index, start))?;
            queue.push(number, job);
            (state, at) = (to, index + 1);
        }
        Ok((at == self.segments.len()).then(|| public_values(&instance.vm, &state)))
    }

    /// A VM with the program; what it has on the device, it shares.
    fn instance(&self) -> Result<(Instance<B>, Uploads), VirtualMachineError> {
        let builder = WgpuVmBuilder::new(self.host.clone());
        let uploads = builder.uploads().clone();
        let engine = Engine::from_device(self.device.clone());
        let vm = VirtualMachine::new(engine, builder, self.vm_config.clone(), share(self.pk))?;
        Ok((VmInstance::new(vm, self.exe.clone(), self.program.clone())?, uploads))
    }

    /// Executes segment `index` and, once there is room for its proof, generates its traces. The time since `start` counts as execution.
    fn job(
        &self,
        VmInstance { vm, interpreter, .. }: &mut Instance<B>,
        uploads: &Uploads,
        state: State,
        (index, start): (usize, Instant),
    ) -> Result<(Job, State), ProveError> {
        let (device, segment) = (self.device, &self.segments[index]);
        vm.transport_init_memory_to_device(&state.memory);
        let executed = preflight(interpreter, state, segment, &self.airs, self.pool);
        let PreflightExecutionOutput { system_records, record_arenas, to_state } =
            executed.map_err(VirtualMachineError::from)?;
        let execution = start.elapsed();

        // for all of it at once, so that proofs under way never wait for each other; whoever comes first begins, since segments may be proved
        // in any order
        let start = Instant::now();
        let shape = self.shape(segment);
        let admission = device.admit(device.shape_bytes(shape));
        let waiting = start.elapsed();

        let start = Instant::now();
        let gpu = device.gpu().under(&admission);
        let counts = self.tables.map(|tables| Counts::new(&gpu, tables)).transpose();
        let counts = counts.map_err(|error| ProveError::Segment { segment: index, error })?;
        let context = uploads.through(gpu, counts, || vm.generate_proving_ctx(system_records, record_arenas));
        let report = SegmentReport {
            segment: index,
            segments: self.segments.len(),
            instructions: segment.num_insns,
            cells: shape.cells() as usize,
            execution,
            waiting,
            trace_generation: start.elapsed(),
            proving: Duration::ZERO,
            kept: false,
        };
        let context = context.map_err(VirtualMachineError::from)?;
        Ok((Job { context, admission, report, ready: Instant::now() }, to_state))
    }

    /// What a segment's proof would need.
    pub(super) fn metered(&self, segment: &Segment) -> MeteredSegment {
        let shape = self.shape(segment);
        let cells = shape.cells();
        let device_bytes = self.device.shape_bytes(shape);
        MeteredSegment {
            instructions: segment.num_insns,
            cells,
            device_bytes,
            host_bytes: cells * size_of::<F>() as u64,
        }
    }

    /// The most of the host's memory that a segment takes.
    pub(super) fn most_host_bytes(&self) -> u64 {
        let of_segment = |segment: &Segment| -> u64 {
            let airs = segment.trace_heights.iter().zip(&self.airs);
            airs.map(|(height, air)| u64::from(*height) * air.row_bytes() as u64).sum()
        };
        self.segments.iter().map(of_segment).max().unwrap_or(0)
    }

    /// The kernels that make traces of these segments.
    pub(super) fn kernels(&self) -> Vec<&'static KernelDecl> {
        let is_used = |air: usize| self.segments.iter().any(|segment| segment.trace_heights[air] > 0);
        let used = self.airs.iter().enumerate().filter(|(air, _)| is_used(*air));
        used.filter_map(|(_, air)| Some(air.kernel?.decl)).chain([Counts::KERNEL]).collect()
    }

    /// The shape of a segment's traces, by their metered heights.
    fn shape(&self, segment: &Segment) -> ProofShape {
        let traces = self.pk.per_air.iter().zip(&segment.trace_heights).filter(|(_, height)| **height > 0);
        let traces = traces.map(|(air, height)| (air, (*height as usize).next_power_of_two()));
        ProofShape::new(self.device.params(), traces)
    }
}

/// The public values in the memory with which the execution ends.
fn public_values<B>(vm: &VirtualMachine<Engine, WgpuVmBuilder<B>>, last: &State) -> UserPublicValuesProof<CHUNK, F>
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>,
    B::SystemChipInventory: 'static,
{
    let system: &SystemConfig = vm.config().as_ref();
    UserPublicValuesProof::compute(
        system.memory_config.memory_dimensions(),
        system.num_public_values,
        &vm_poseidon2_hasher(),
        &last.memory.memory,
        vm.memory_top_tree().expect("traces of the memory were generated"),
    )
}

/// A second handle to what a key has on the device.
pub(super) fn share(pk: &DevicePk) -> DevicePk {
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
