//! Upstream's interpreter for executions with records, `PreflightInterpretedInstance`, with two differences.
//!
//! It divides with the machine's own instruction. Upstream's executor of DIV, DIVU, REM and REMU calculates with big numbers, which takes more
//! than a microsecond: 40% of the time of a guest that hashes text. The records are the same.
//!
//! What does not change during an execution can be shared by threads, and there are no entries for the 2 MiB below the program.

use openvm_circuit::{
    arch::{
        execution_mode::PreflightCtx,
        instructions::{
            instruction::Instruction,
            program::{Program, DEFAULT_PC_STEP},
            LocalOpcode, SystemOpcode, VmOpcode,
        },
        AdapterTraceExecutor, AnyEnum, EmptyAdapterCoreLayout, ExecutionError, ExecutorInventory, PreflightExecutor,
        RecordArena, StaticProgramError, VmExecState, VmStateMut,
    },
    system::memory::online::TracingMemory,
};
use openvm_rv32im_circuit::{adapters::Rv32MultAdapterExecutor, DivRemCoreRecord, Rv32DivRemExecutor};
use openvm_rv32im_transpiler::DivRemOpcode;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeField32;

use crate::openvm::records::ChipRecords;

/// The state of an execution with records.
pub(super) type State = VmExecState<F, TracingMemory, PreflightCtx<ChipRecords>>;

/// A program, ready to be executed with records.
pub(in crate::openvm) struct Interpreter<E> {
    executors: Vec<E>,
    /// By the instructions' places; `None` where the program has none.
    entries: Vec<Option<Entry>>,
    pc_base: u32,
}

struct Entry {
    instruction: Instruction<F>,
    kind: Kind,
}

/// Who executes an instruction, and the AIR that its record is for.
enum Kind {
    Terminate,
    Divide { opcode: DivRemOpcode, air: usize },
    Other { executor: usize, air: usize },
}

/// How often each place of a program was executed.
pub(super) type Frequencies = Vec<u32>;

impl<E: AnyEnum> Interpreter<E> {
    /// Looks the executors of all instructions up; `airs` has their AIRs.
    ///
    /// # Errors
    ///
    /// [`StaticProgramError::ExecutorNotFound`].
    pub(in crate::openvm) fn new(
        program: &Program<F>,
        inventory: ExecutorInventory<E>,
        airs: &[usize],
    ) -> Result<Self, StaticProgramError> {
        let entry = |instruction: &Instruction<F>| {
            let opcode = instruction.opcode;
            let kind = if opcode == SystemOpcode::TERMINATE.global_opcode() {
                Kind::Terminate
            } else {
                let not_found = StaticProgramError::ExecutorNotFound { opcode };
                let executor = *inventory.instruction_lookup.get(&opcode).ok_or(not_found)? as usize;
                let air = airs[executor];
                // a user's own chip may execute them
                let is_upstream = inventory.executors[executor].as_any_kind().is::<Rv32DivRemExecutor>();
                match division(opcode).filter(|_| is_upstream) {
                    Some(opcode) => Kind::Divide { opcode, air },
                    None => Kind::Other { executor, air },
                }
            };
            Ok(Entry { instruction: instruction.clone(), kind })
        };
        let instructions = program.instructions_and_debug_infos.iter();
        let entries = instructions.map(|found| found.as_ref().map(|(instruction, _)| entry(instruction)).transpose());
        Ok(Self {
            entries: entries.collect::<Result<_, _>>()?,
            executors: inventory.executors,
            pc_base: program.pc_base,
        })
    }

    /// Frequencies of an execution that has not begun.
    pub(super) fn no_frequencies(&self) -> Frequencies {
        vec![0; self.entries.len()]
    }

    /// Executes until the program ends, or all of the context's instructions are executed, and counts on.
    ///
    /// # Errors
    ///
    /// What goes wrong in the guest.
    pub(super) fn execute(&self, state: &mut State, frequencies: &mut Frequencies) -> Result<(), ExecutionError>
    where
        E: PreflightExecutor<F, ChipRecords>,
    {
        while state.ctx.instret_left > 0 && !matches!(state.exit_code, Ok(Some(_))) {
            let pc = state.vm_state.pc();
            let offset = pc.checked_sub(self.pc_base).ok_or(ExecutionError::Unreachable(pc))?;
            let place = (offset / DEFAULT_PC_STEP) as usize;
            let entry = self.entries.get(place).ok_or(ExecutionError::PcOutOfBounds(pc))?;
            let Entry { instruction, kind } = entry.as_ref().ok_or(ExecutionError::Unreachable(pc))?;
            frequencies[place] += 1;
            let VmExecState { vm_state, ctx, .. } = state;
            match *kind {
                Kind::Terminate => state.exit_code = Ok(Some(instruction.c.as_canonical_u32())),
                Kind::Divide { opcode, air } => divide(vm_state.into_mut(&mut ctx.arenas[air]), instruction, opcode),
                Kind::Other { executor, air } => {
                    self.executors[executor].execute(vm_state.into_mut(&mut ctx.arenas[air]), instruction)?;
                }
            }
            state.ctx.instret_left -= 1;
        }
        Ok(())
    }

    /// Those of the places that have instructions, as the program's chip wants them.
    pub(super) fn filtered(&self, frequencies: Frequencies) -> Vec<u32> {
        let places = self.entries.iter().zip(frequencies);
        places.filter_map(|(entry, frequency)| entry.as_ref().map(|_| frequency)).collect()
    }
}

fn division(opcode: VmOpcode) -> Option<DivRemOpcode> {
    use DivRemOpcode::{DIV, DIVU, REM, REMU};
    [DIV, DIVU, REM, REMU].into_iter().find(|division| division.global_opcode() == opcode)
}

/// As upstream's `Rv32DivRemExecutor`.
fn divide(state: VmStateMut<F, TracingMemory, ChipRecords>, instruction: &Instruction<F>, opcode: DivRemOpcode) {
    type Adapter = Rv32MultAdapterExecutor;
    let adapter = Rv32MultAdapterExecutor;
    let (mut record, core): (_, &mut DivRemCoreRecord<4>) =
        state.ctx.alloc(EmptyAdapterCoreLayout::<F, Adapter>::new());
    <Adapter as AdapterTraceExecutor<F>>::start(*state.pc, state.memory, &mut record);
    core.local_opcode = opcode as u8;
    [core.b, core.c] = adapter.read(state.memory, instruction, &mut record);
    let result = quotient_or_remainder(opcode, u32::from_le_bytes(core.b), u32::from_le_bytes(core.c));
    adapter.write(state.memory, instruction, [result.to_le_bytes()], &mut record);
    *state.pc = state.pc.wrapping_add(DEFAULT_PC_STEP);
}

/// The result in RV32M, which is defined for all operands.
fn quotient_or_remainder(opcode: DivRemOpcode, b: u32, c: u32) -> u32 {
    let (signed_b, signed_c) = (b as i32, c as i32);
    match (opcode, c) {
        (DivRemOpcode::DIV | DivRemOpcode::DIVU, 0) => u32::MAX,
        (DivRemOpcode::REM | DivRemOpcode::REMU, 0) => b,
        (DivRemOpcode::DIV, _) => signed_b.wrapping_div(signed_c) as u32,
        (DivRemOpcode::DIVU, _) => b / c,
        (DivRemOpcode::REM, _) => signed_b.wrapping_rem(signed_c) as u32,
        (DivRemOpcode::REMU, _) => b % c,
    }
}

#[cfg(test)]
mod tests;
