//! Execution with records: upstream's interpreter, with memory for the records that is made ready for it.

use std::any::Any;

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

use super::huge_pages::Pages;

/// Executes a segment from `state` as upstream's `VirtualMachine::execute_preflight` does. `widths` are those of the AIRs' common main
/// traces.
///
/// # Errors
///
/// What goes wrong in the guest.
pub(super) fn preflight<E, RA>(
    interpreter: &mut PreflightInterpretedInstance<F, E>,
    state: VmState<F, GuestMemory>,
    segment: &Segment,
    widths: &[usize],
) -> Result<PreflightExecutionOutput<F, RA>, ExecutionError>
where
    RA: Arena + 'static,
    E: PreflightExecutor<F, RA>,
{
    let _span = tracing::info_span!("execute_preflight").entered();
    assert_eq!(segment.trace_heights.len(), widths.len(), "heights of all AIRs");
    let arenas = segment.trace_heights.iter().zip(widths).map(|(height, width)| arena(*height as usize, *width));
    let (arenas, pages): (Vec<RA>, Vec<_>) = arenas.unzip();
    let context = PreflightCtx { arenas, instret_left: segment.num_insns };
    let pc = state.pc();
    let memory = TracingMemory::from_image(state.memory);
    let from_state = ExecutionState::new(pc, memory.timestamp());
    let mut execution = VmExecState::new(VmState::new(pc, memory, state.streams, state.rng), context);
    interpreter.reset_execution_frequencies();
    rayon::in_place_scope(|scope| {
        for part in in_turn(pages) {
            // SAFETY: the arenas are in `execution`, which outlives the scope, and no executor lets go of an arena's memory
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

/// An arena, and its memory if it is one that we know: on huge pages where the system has them.
fn arena<RA: Arena + 'static>(height: usize, width: usize) -> (RA, Vec<Pages>) {
    let mut arena = RA::with_capacity(height, width);
    let pages = match (&mut arena as &mut dyn Any).downcast_mut::<MatrixRecordArena<F>>() {
        Some(matrix) => Pages::of(&mut matrix.trace_buffer, height * width),
        None => vec![],
    };
    (arena, pages)
}

/// Parts of all arenas in the order in which they will be needed, if all are filled at the same rate.
fn in_turn(arenas: Vec<Vec<Pages>>) -> Vec<Pages> {
    let place = |parts: &[Pages], part: usize| (part as f64) / parts.len() as f64;
    let mut parts: Vec<(f64, Pages)> = arenas
        .iter()
        .flat_map(|parts| parts.iter().enumerate().map(move |(part, pages)| (place(parts, part), *pages)))
        .collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    parts.into_iter().map(|(_, pages)| pages).collect()
}
