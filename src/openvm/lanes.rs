//! Segments on their way to their proofs: a device's part of an execution.
//!
//! Several threads, *lanes*, have a VM and a state of their own each, and go from one segment to the next by executing what lies between
//! without records. That is cheap: 250 M instructions a second, against 8 M with records (2 cores of a server). To hand out states from one
//! execution instead would mean to copy the guest's memory for each segment, which costs as much as 100 M instructions.

use std::{
    mem,
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{
        mpsc::{channel, Receiver, Sender, TryRecvError},
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
    },
    thread::Scope,
    time::{Duration, Instant},
};

use openvm_circuit::{
    arch::{
        execution_mode::{metered::segment_ctx::Segment, ExecutionCtx},
        hasher::poseidon2::vm_poseidon2_hasher,
        instructions::exe::VmExe,
        InterpretedInstance, PreflightExecutionOutput, Streams, SystemConfig, VirtualMachine, VirtualMachineError,
        VmExecutionConfig, VmExecutor, VmState,
    },
    system::memory::{merkle::public_values::UserPublicValuesProof, online::GuestMemory},
};
use openvm_stark_backend::prover::{
    CommittedTraceData, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{
    builder::Uploads,
    kept::KeptProofs,
    metered::Metered,
    preflight::{preflight, preflight_first, AirRecords, Interpreter},
    records::{ChipRecords, Pool},
    tasks::{Failure, PublicValues},
    Engine, HostVmBuilder, MeteredSegment, ProveError, SegmentReport, WgpuVmBuilder,
};
use crate::{
    fleet::Cancellation,
    gpu::{Admission, KernelDecl},
    kernels::openvm::{Counts, Permutations, Tables},
    memory::ProofShape,
    WgpuBackend, WgpuDevice,
};

pub(super) type DevicePk = DeviceMultiStarkProvingKey<WgpuBackend>;
type State = VmState<F, GuestMemory>;

/// A lane's VM, with the program; what it has on the device, it shares.
struct Machine<B: HostVmBuilder> {
    vm: VirtualMachine<Engine, WgpuVmBuilder<B>>,
    interpreter: Interpreter<<B::VmConfig as VmExecutionConfig<F>>::Executor>,
    uploads: Uploads,
}

/// An execution on one device; what its lanes share.
pub(super) struct Execution<'a, B: HostVmBuilder> {
    pub host: &'a B,
    pub vm_config: &'a B::VmConfig,
    /// The device's number among the prover's.
    pub number: usize,
    pub device: &'a WgpuDevice,
    pub pk: &'a DevicePk,
    pub exe: &'a Arc<VmExe<F>>,
    pub program: &'a CommittedTraceData<WgpuBackend>,
    pub input: &'a Streams<F>,
    pub segments: &'a Metered,
    /// Says when to stop.
    pub kept: &'a dyn KeptProofs,
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
    /// Without the number of segments, which may not be known.
    pub report: SegmentReport,
    /// Since when.
    pub ready: Instant,
    /// Behind the last segment.
    pub public_values: Option<PublicValues>,
}

/// A segment's records.
struct Executed {
    output: PreflightExecutionOutput<F, ChipRecords>,
    execution: Duration,
}

/// How far a lane has come.
struct Way<'e, 'a, B: HostVmBuilder> {
    execution: &'e Execution<'a, B>,
    /// Another one than the VM's, since that changes while it is in use.
    executor: &'e VmExecutor<F, B::VmConfig>,
    interpreter: Option<InterpretedInstance<'e, F, ExecutionCtx>>,
    /// The number of the next segment.
    at: usize,
    /// The state before it; none at the beginning of the execution.
    state: Option<State>,
}

impl<B: HostVmBuilder> Way<'_, '_, B> {
    /// The state before a segment: executes those before it without records.
    fn to(&mut self, machine: &Machine<B>, segment: usize) -> Result<State, VirtualMachineError> {
        let execution = self.execution;
        let state = self.state.take().unwrap_or_else(|| execution.initial_state(&machine.vm));
        let between = &execution.segments()[self.at..segment];
        if between.is_empty() {
            return Ok(state);
        }
        let interpreter = match &mut self.interpreter {
            Some(interpreter) => interpreter,
            none => none.insert(self.executor.instance(execution.exe)?),
        };
        let instructions = between.iter().map(|segment| segment.num_insns).sum();
        Ok(interpreter.execute_from_state(state, Some(instructions))?)
    }
}

/// A segment that a lane shall prepare.
#[derive(Clone)]
struct Request {
    segment: usize,
    cancelled: Cancellation,
    reply: Sender<Result<Job, Failure>>,
}

/// VMs are made one after the other. Their tables are page faults, in which threads hinder each other: eight at once take 110 ms, one takes 15.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A lane that is free.
struct Lane {
    requests: Sender<Request>,
    /// The number of the segment that it has come to.
    at: usize,
    /// It executes the first segment, whether that is known or not, and is kept for whoever asks for that.
    begins: bool,
}

/// A device's lanes.
#[derive(Default)]
pub(super) struct Lanes {
    state: Mutex<LanesState>,
    freed: Condvar,
}

#[derive(Default)]
struct LanesState {
    free: Vec<Lane>,
    /// How many there are.
    started: usize,
    is_closed: bool,
}

impl Lanes {
    /// Starts lanes until there are `lanes` of them.
    pub(super) fn grow<'scope, 'a, B: HostVmBuilder>(
        &self,
        execution: &'scope Execution<'a, B>,
        lanes: usize,
        scope: &'scope Scope<'scope, '_>,
    ) {
        while self.lock().started < lanes {
            self.start(execution, false, scope);
        }
    }

    /// Starts a lane; one that `begins` executes the first segment before that is known, and somebody has to [ask](Self::prepare) for it, or to
    /// [let](Self::let_go) the lane go.
    pub(super) fn start<'scope, 'a, B: HostVmBuilder>(
        &self,
        execution: &'scope Execution<'a, B>,
        begins: bool,
        scope: &'scope Scope<'scope, '_>,
    ) {
        let (requests, receiver) = channel();
        let mut state = self.lock();
        state.started += 1;
        if !state.is_closed {
            scope.spawn(move || execution.lane(&receiver, begins));
            state.free.push(Lane { requests, at: 0, begins });
        }
        drop(state);
        self.freed.notify_all();
    }

    /// Nobody will ask for the first segment.
    pub(super) fn let_go(&self) {
        self.lock().free.iter_mut().for_each(|lane| lane.begins = false);
        self.freed.notify_all();
    }

    /// Ends those that are free, and others when they are done with what they have.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.free.clear();
        drop(state);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, LanesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has segment `segment` prepared by a lane that is free, if possible the one that has the shortest way to it.
    pub(super) fn prepare(&self, segment: usize, cancelled: &Cancellation) -> Result<Job, Failure> {
        let requests = self.take(segment).ok_or(Failure::Cancelled)?;
        let (reply, job) = channel();
        let request = Request { segment, cancelled: cancelled.clone(), reply };
        let job = match requests.send(request) {
            Ok(()) => job.recv().unwrap_or(Err(Failure::Cancelled)),
            Err(_) => Err(Failure::Cancelled),
        };
        // whoever has failed begins anew
        let at = if job.is_ok() { segment + 1 } else { 0 };
        let mut state = self.lock();
        if !state.is_closed {
            state.free.push(Lane { requests, at, begins: false });
        }
        drop(state);
        self.freed.notify_one();
        job
    }

    /// Waits for a lane; none if they are closed.
    fn take(&self, segment: usize) -> Option<Sender<Request>> {
        let mut state = self.lock();
        while !state.is_closed {
            let free = state.free.iter().enumerate().filter(|(_, lane)| segment == 0 || !lane.begins);
            // those that are beyond it have to begin anew
            let way = |lane: &Lane| (lane.begins, if lane.at <= segment { lane.at + 1 } else { 0 });
            match free.max_by_key(|(_, lane)| way(lane)) {
                Some((number, _)) => return Some(state.free.swap_remove(number).requests),
                None => state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        None
    }
}

impl<'a, B: HostVmBuilder> Execution<'a, B> {
    /// A lane: prepares segments until nobody can ask for one any more. Its VM is made before anybody asks, and the first segment is executed
    /// if it `begins`.
    fn lane(&self, requests: &Receiver<Request>, mut begins: bool) {
        let mut request = None;
        loop {
            let begins = mem::take(&mut begins);
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(&mut request, requests, begins)));
            let failure = match served {
                Ok(Ok(())) if request.is_none() => return,
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(panic) => Failure::Panic(panic),
            };
            let Some(request) = request.take().or_else(|| requests.recv().ok()) else { return };
            let _ = request.reply.send(Err(failure));
        }
    }

    /// Prepares what is asked for, from the beginning of the execution on, until something lies before what was.
    fn serve(&self, request: &mut Option<Request>, requests: &Receiver<Request>, begins: bool) -> Result<(), Failure> {
        let Some(mut machine) = self.machine_in_turn(request, requests)? else { return Ok(()) };
        let mut begun = if begins { self.begin(&mut machine) } else { None };
        let executor = &VmExecutor::new(self.vm_config.clone()).map_err(vm)?;
        let mut way = Way { execution: self, executor, interpreter: None, at: 0, state: None };
        if request.is_none() {
            *request = requests.recv().ok();
        }
        // it stays where it is until it is done, so that whoever asked is told of failures
        while let Some(Request { segment, cancelled, reply }) =
            request.clone().filter(|request| way.at <= request.segment)
        {
            let start = Instant::now();
            if self.kept.stops() {
                return Err(Failure::Cancelled);
            }
            let executed = match begun.take().filter(|_| segment == 0) {
                Some(executed) => executed,
                None => {
                    let state = way.to(&machine, segment).map_err(vm)?;
                    if cancelled.is_cancelled() {
                        return Err(Failure::Cancelled);
                    }
                    self.execute(&mut machine, state, (segment, start))?
                }
            };
            let (job, state) = self.job(&mut machine, executed, segment)?;
            (way.state, way.at) = (Some(state), segment + 1);
            // nobody waits any more where a task's thread has ended
            let _ = reply.send(Ok(job));
            *request = requests.recv().ok();
        }
        Ok(())
    }

    /// Nothing if nobody will ask for a segment.
    fn machine_in_turn(
        &self,
        request: &mut Option<Request>,
        requests: &Receiver<Request>,
    ) -> Result<Option<Machine<B>>, Failure> {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        if request.is_none() {
            match requests.try_recv() {
                Ok(first) => *request = Some(first),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(None),
            }
        }
        self.machine().map(Some).map_err(vm)
    }

    fn machine(&self) -> Result<Machine<B>, VirtualMachineError> {
        let builder = WgpuVmBuilder::new(self.host.clone());
        let uploads = builder.uploads().clone();
        let engine = Engine::from_device(self.device.clone());
        let mut vm = VirtualMachine::new(engine, builder, self.vm_config.clone(), share(self.pk))?;
        vm.load_program(self.program.clone());
        let executors = self.vm_config.create_executors()?;
        let interpreter = Interpreter::new(&self.exe.program, executors, &vm.executor_idx_to_air_idx())?;
        Ok(Machine { vm, interpreter, uploads })
    }

    /// Executes the first segment while it is being found. Nothing if that fails, for which whoever finds it has better words, or if the
    /// execution came further.
    fn begin(&self, Machine { vm, interpreter, .. }: &mut Machine<B>) -> Option<Executed> {
        let (start, state) = (Instant::now(), self.initial_state(vm));
        vm.transport_init_memory_to_device(&state.memory);
        let output = preflight_first(interpreter, state, self.segments, &self.airs, self.pool).ok()??;
        Some(Executed { output, execution: start.elapsed() })
    }

    fn initial_state(&self, vm: &VirtualMachine<Engine, WgpuVmBuilder<B>>) -> State {
        vm.create_initial_state(self.exe, self.input.clone())
    }

    /// Executes segment `index`. The time since `start` counts as execution.
    fn execute(
        &self,
        Machine { vm, interpreter, .. }: &mut Machine<B>,
        state: State,
        (index, start): (usize, Instant),
    ) -> Result<Executed, ProveError> {
        vm.transport_init_memory_to_device(&state.memory);
        let output = preflight(interpreter, state, &self.segments()[index], &self.airs, self.pool);
        Ok(Executed { output: output.map_err(VirtualMachineError::from)?, execution: start.elapsed() })
    }

    /// Generates the traces of segment `index`, once there is room for its proof; returns the state behind it, too.
    fn job(
        &self,
        Machine { vm, uploads, .. }: &mut Machine<B>,
        Executed { output, execution }: Executed,
        index: usize,
    ) -> Result<(Job, State), ProveError> {
        let (device, segment) = (self.device, &*self.segments()[index]);
        let PreflightExecutionOutput { system_records, record_arenas, to_state } = output;
        let ends = system_records.exit_code.is_some();

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
            segments: 0,
            instructions: segment.num_insns,
            cells: shape.cells() as usize,
            execution,
            waiting,
            trace_generation: start.elapsed(),
            proving: Duration::ZERO,
            kept: false,
            device: Some(self.number),
        };
        let context = context.map_err(VirtualMachineError::from)?;
        let public_values = ends.then(|| public_values(vm, &to_state));
        Ok((Job { context, admission, report, ready: Instant::now(), public_values }, to_state))
    }

    /// The segments that are known.
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.all()
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
        let of_segment = |segment: &Arc<Segment>| -> u64 {
            let airs = segment.trace_heights.iter().zip(&self.airs);
            airs.map(|(height, air)| u64::from(*height) * air.row_bytes() as u64).sum()
        };
        self.segments().iter().map(of_segment).max().unwrap_or(0)
    }

    /// The kernels that make traces of these segments.
    pub(super) fn kernels(&self) -> Vec<&'static KernelDecl> {
        let segments = self.segments();
        let is_used = |air: usize| segments.iter().any(|segment| segment.trace_heights[air] > 0);
        let used = self.airs.iter().enumerate().filter(|(air, _)| is_used(*air));
        used.filter_map(|(_, air)| Some(air.kernel?.decl)).chain([Counts::KERNEL, Permutations::KERNEL]).collect()
    }

    /// The shape of a segment's traces, by their metered heights.
    fn shape(&self, segment: &Segment) -> ProofShape {
        let traces = self.pk.per_air.iter().zip(&segment.trace_heights).filter(|(_, height)| **height > 0);
        let traces = traces.map(|(air, height)| (air, (*height as usize).next_power_of_two()));
        ProofShape::new(self.device.params(), traces)
    }
}

fn vm(error: impl Into<VirtualMachineError>) -> Failure {
    ProveError::from(error.into()).into()
}

/// The public values in the memory with which the execution ends.
fn public_values<B: HostVmBuilder>(vm: &VirtualMachine<Engine, WgpuVmBuilder<B>>, last: &State) -> PublicValues {
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
