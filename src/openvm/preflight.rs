//! Execution with records: upstream's interpreter, with memory for the records that is made ready for it.

use openvm_circuit::{
    arch::{
        execution_mode::{metered::segment_ctx::Segment, PreflightCtx},
        interpreter_preflight::PreflightInterpretedInstance,
        Arena, ExecutionError, ExecutionState, MatrixRecordArena, PreflightExecutionOutput, PreflightExecutor,
        VmExecState, VmState,
    },
    system::{
        memory::online::{GuestMemory, TracingMemory},
        SystemRecords,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{
    huge_pages::Pages,
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
            Some(Layout::Row { bytes, .. }) => bytes,
            Some(Layout::Rows { head, row }) => head + row,
            None => self.width * size_of::<F>(),
        }
    }
}

/// Executes a segment from `state` as upstream's `VirtualMachine::execute_preflight` does. Records whose traces are made on the device are in
/// memory of `pool`.
///
/// # Errors
///
/// What goes wrong in the guest.
pub(super) fn preflight<E>(
    interpreter: &mut PreflightInterpretedInstance<F, E>,
    state: VmState<F, GuestMemory>,
    segment: &Segment,
    airs: &[AirRecords],
    pool: &Pool,
) -> Result<PreflightExecutionOutput<F, ChipRecords>, ExecutionError>
where
    E: PreflightExecutor<F, ChipRecords>,
{
    let _span = tracing::info_span!("execute_preflight").entered();
    assert_eq!(segment.trace_heights.len(), airs.len(), "heights of all AIRs");
    let arenas = segment.trace_heights.iter().zip(airs).map(|(height, air)| arena(*height as usize, air, pool));
    let (arenas, pages): (Vec<ChipRecords>, Vec<_>) = arenas.unzip();
    let context = PreflightCtx { arenas, instret_left: segment.num_insns };
    let pc = state.pc();
    let memory = TracingMemory::from_image(state.memory);
    let from_state = ExecutionState::new(pc, memory.timestamp());
    let mut execution = VmExecState::new(VmState::new(pc, memory, state.streams, state.rng), context);
    interpreter.reset_execution_frequencies();
    rayon::in_place_scope(|scope| {
        for part in in_turn(pages) {
            // SAFETY: the matrices are in `execution`, which outlives the scope, and no executor lets go of a matrix's memory
            scope.spawn(move |_| unsafe { part.populate() });
        }
        interpreter.execute_from_state(&mut execution)
    })?;
    let filtered_exec_frequencies = interpreter.filtered_execution_frequencies();
    let touched_memory = execution.vm_state.memory.finalize::<F>();
    let pc = execution.vm_state.pc();
    let to_state = ExecutionState::new(pc, execution.vm_state.memory.timestamp());
    let exit_code = execution.exit_code?;
    let state = execution.vm_state;
    Ok(PreflightExecutionOutput {
        system_records: SystemRecords { from_state, to_state, exit_code, filtered_exec_frequencies, touched_memory },
        record_arenas: execution.ctx.arenas,
        to_state: VmState::new(pc, state.memory.data, state.streams, state.rng),
    })
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
