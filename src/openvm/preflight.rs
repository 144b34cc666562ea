//! Execution with records, with memory for these that is made ready for it.

mod interpreter;

use openvm_circuit::{
    arch::{
        execution_mode::{metered::segment_ctx::Segment, PreflightCtx},
        AnyEnum, Arena, ExecutionError, ExecutionState, MatrixRecordArena, PreflightExecutionOutput, PreflightExecutor,
        VmExecState, VmState,
    },
    system::{
        memory::online::{GuestMemory, TracingMemory},
        SystemRecords,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use self::interpreter::Frequencies;
pub(super) use self::interpreter::Interpreter;
use super::{
    huge_pages::Pages,
    metered::Metered,
    records::{ChipRecords, Pool},
};
use crate::kernels::openvm::{Layout, TraceKernel};

/// What is known of an AIR before its records.
#[derive(Clone, Copy)]
pub(super) struct AirRecords {
    /// Columns of the common main trace.
    pub width: usize,
    /// What makes the trace on the device.
    pub kernel: Option<&'static TraceKernel>,
}

impl AirRecords {
    /// Bytes of the host's memory for a row.
    pub(super) fn row_bytes(&self) -> usize {
        match self.kernel.map(|kernel| kernel.layout) {
            Some(Layout::Row { bytes, .. } | Layout::Ring { bytes }) => bytes,
            Some(Layout::Rows { head, row }) => head + row,
            Some(Layout::Shared { .. }) => 0,
            None => self.width * size_of::<F>(),
        }
    }
}

/// What an execution leaves behind.
type Output = PreflightExecutionOutput<F, ChipRecords>;

/// An execution with records, on its way.
struct Recording<'a, E> {
    interpreter: &'a Interpreter<E>,
    from: ExecutionState<u32>,
    state: interpreter::State,
    frequencies: Frequencies,
}

impl<'a, E: AnyEnum + PreflightExecutor<F, ChipRecords>> Recording<'a, E> {
    fn new(interpreter: &'a Interpreter<E>, state: VmState<F, GuestMemory>, arenas: Vec<ChipRecords>) -> Self {
        let pc = state.pc();
        let memory = TracingMemory::from_image(state.memory);
        let from = ExecutionState::new(pc, memory.timestamp());
        let state = VmState::new(pc, memory, state.streams, state.rng);
        let state = VmExecState::new(state, PreflightCtx { arenas, instret_left: 0 });
        Self { interpreter, from, state, frequencies: interpreter.no_frequencies() }
    }

    /// Executes up to `instructions` more. Returns how many, which are fewer where the program ends.
    fn run(&mut self, instructions: u64) -> Result<u64, ExecutionError> {
        self.state.ctx.instret_left = instructions;
        self.interpreter.execute(&mut self.state, &mut self.frequencies)?;
        Ok(instructions - self.state.ctx.instret_left)
    }

    fn has_ended(&self) -> bool {
        !matches!(self.state.exit_code, Ok(None))
    }

    fn end(self) -> Result<Output, ExecutionError> {
        let VmExecState { vm_state: mut state, ctx, exit_code, .. } = self.state;
        let touched_memory = state.memory.finalize::<F>();
        let (pc, exit_code) = (state.pc(), exit_code?);
        let system_records = SystemRecords {
            from_state: self.from,
            to_state: ExecutionState::new(pc, state.memory.timestamp()),
            exit_code,
            filtered_exec_frequencies: self.interpreter.filtered(self.frequencies),
            touched_memory,
        };
        let to_state = VmState::new(pc, state.memory.data, state.streams, state.rng);
        Ok(Output { system_records, record_arenas: ctx.arenas, to_state })
    }
}

/// Executes a segment from `state` as upstream's `VirtualMachine::execute_preflight` does. Records whose traces are made on the device are in
/// memory of `pool`.
///
/// # Errors
///
/// What goes wrong in the guest.
pub(super) fn preflight<E>(
    interpreter: &Interpreter<E>,
    state: VmState<F, GuestMemory>,
    segment: &Segment,
    airs: &[AirRecords],
    pool: &Pool,
) -> Result<Output, ExecutionError>
where
    E: AnyEnum + PreflightExecutor<F, ChipRecords>,
{
    let _span = tracing::info_span!("execute_preflight").entered();
    assert_eq!(segment.trace_heights.len(), airs.len(), "heights of all AIRs");
    let arenas = segment.trace_heights.iter().zip(airs).map(|(height, air)| arena(*height as usize, air, pool));
    let (arenas, pages): (Vec<ChipRecords>, Vec<_>) = arenas.unzip();
    let mut recording = Recording::new(interpreter, state, arenas);
    rayon::in_place_scope(|scope| {
        for part in in_turn(pages) {
            // SAFETY: the matrices are in `recording`, which outlives the scope, and no executor lets go of a matrix's memory
            scope.spawn(move |_| unsafe { part.populate() });
        }
        recording.run(segment.num_insns)
    })?;
    recording.end()
}

/// Executes the first segment from `state` while it is being found, as [`preflight`] does. Nothing if the execution came further than that,
/// which hardly happens, since finding it is faster; or if it is not found.
///
/// # Errors
///
/// As [`preflight`].
pub(super) fn preflight_first<E>(
    interpreter: &Interpreter<E>,
    state: VmState<F, GuestMemory>,
    metered: &Metered,
    airs: &[AirRecords],
    pool: &Pool,
) -> Result<Option<Output>, ExecutionError>
where
    E: AnyEnum + PreflightExecutor<F, ChipRecords>,
{
    /// Instructions, until it is asked again whether the segment is found: a millisecond or two.
    const BURST: u64 = 1 << 15;
    let _span = tracing::info_span!("execute_preflight").entered();
    // heights are not known: memory of the host's chips grows
    let arenas = airs.iter().map(|air| arena(0, air, pool).0);
    let (mut recording, mut executed) = (Recording::new(interpreter, state, arenas.collect()), 0);
    let segment = loop {
        match metered.first() {
            Ok(segment) => break segment,
            Err(true) if !recording.has_ended() => executed += recording.run(BURST)?,
            Err(true) => match metered.wait_for_first() {
                Some(segment) => break segment,
                None => return Ok(None),
            },
            Err(false) => return Ok(None),
        }
    };
    let Some(rest) = segment.num_insns.checked_sub(executed) else { return Ok(None) };
    if recording.run(rest)? < rest {
        return Ok(None);
    }
    recording.end().map(Some)
}

/// Memory for the records of an AIR; that of a matrix on huge pages where the system has them.
fn arena(height: usize, air: &AirRecords, pool: &Pool) -> (ChipRecords, Vec<Pages>) {
    if let Some(kernel) = air.kernel {
        return (ChipRecords::on_device(kernel, pool), vec![]);
    }
    let mut matrix = MatrixRecordArena::<F>::with_capacity(height, air.width);
    let pages = Pages::of(&mut matrix.trace_buffer, height * air.width);
    (ChipRecords::on_host(matrix), pages)
}

/// Parts of all matrices in the order in which they will be needed, if all are filled at the same rate.
fn in_turn(arenas: Vec<Vec<Pages>>) -> Vec<Pages> {
    let place = |parts: &[Pages], part: usize| (part as f64) / parts.len() as f64;
    let mut parts: Vec<(f64, Pages)> = arenas
        .iter()
        .flat_map(|parts| parts.iter().enumerate().map(move |(part, pages)| (place(parts, part), *pages)))
        .collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    parts.into_iter().map(|(_, pages)| pages).collect()
}

#[cfg(test)]
mod tests;
