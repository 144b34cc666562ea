//! The interpreter against upstream's: the same records, memory and frequencies, and the same errors.

use std::sync::Arc;

use openvm_circuit::arch::{
    execution_mode::PreflightCtx, instructions::exe::VmExe, interpreter_preflight::PreflightInterpretedInstance, Arena,
    Streams, SystemConfig, VmExecutionConfig, VmState,
};
use openvm_sdk::StdIn;
use openvm_sdk_config::{SdkVmConfig, TranspilerConfig};
use openvm_transpiler::FromElf;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::openvm::decode_elf;

/// Rows and columns of the memory for each executor's records, as wide as the widest AIR of curves.
const HEIGHT: usize = 1 << 13;
const WIDTH: usize = 1 << 11;

/// What an execution leaves behind.
#[derive(Debug, PartialEq)]
struct End {
    result: Result<Option<u32>, String>,
    pc: u32,
    timestamp: u32,
    frequencies: Option<Vec<u32>>,
    records: Vec<Vec<F>>,
    memory: Vec<((u32, u32), [F; 4])>,
}

fn state(config: &SdkVmConfig, exe: &VmExe<F>, input: &Streams<F>, airs: usize, instructions: u64) -> State {
    let system: &SystemConfig = config.as_ref();
    let VmState { memory, streams, rng, .. } = VmState::initial(system, &exe.init_memory, exe.pc_start, input.clone());
    let state = VmState::new(exe.pc_start, TracingMemory::from_image(memory), streams, rng);
    let arenas = (0..airs).map(|_| ChipRecords::with_capacity(HEIGHT, WIDTH)).collect();
    VmExecState::new(state, PreflightCtx { arenas, instret_left: instructions })
}

fn end(mut state: State, result: Result<Vec<u32>, ExecutionError>) -> End {
    let records = state.ctx.arenas.into_iter().map(|records| {
        let mut matrix = records.into_matrix();
        matrix.trace_buffer.truncate(matrix.trace_offset);
        matrix.trace_buffer
    });
    let memory = state.vm_state.memory.finalize::<F>();
    let frequencies = result.as_ref().ok().cloned();
    End {
        result: result.and(state.exit_code).map_err(|error| error.to_string()),
        pc: state.vm_state.pc(),
        timestamp: state.vm_state.memory.timestamp(),
        frequencies,
        records: records.collect(),
        memory: memory.into_iter().map(|(at, touched)| (at, touched.values)).collect(),
    }
}

/// Executes at most so many instructions both ways.
fn assert_equals_upstream(config: &SdkVmConfig, exe: &VmExe<F>, input: StdIn, instructions: u64) -> End {
    let executors = || VmExecutionConfig::<F>::create_executors(config).unwrap();
    let input: Streams<F> = input.into();
    // an AIR for each executor
    let airs: Vec<usize> = (0..executors().executors.len()).rev().collect();
    let state = || state(config, exe, &input, airs.len(), instructions);

    let mut upstream = PreflightInterpretedInstance::new(&exe.program, Arc::new(executors()), airs.clone()).unwrap();
    let mut expected = state();
    let result = upstream.execute_from_state(&mut expected).map(|()| upstream.filtered_execution_frequencies());
    let expected = end(expected, result);

    let interpreter = Interpreter::new(&exe.program, executors(), &airs).unwrap();
    let mut found = state();
    let mut frequencies = interpreter.no_frequencies();
    let result = interpreter.execute(&mut found, &mut frequencies).map(|()| interpreter.filtered(frequencies));
    let found = end(found, result);
    assert!(found == expected, "{found:?}\n{expected:?}");
    found
}

fn program(instructions: &[Instruction<F>], base: u32, init_memory: &[(u32, u32)]) -> VmExe<F> {
    let bytes = init_memory.iter().flat_map(|(register, value)| {
        let bytes = value.to_le_bytes().into_iter().enumerate();
        bytes.map(move |(i, byte)| ((1, 4 * register + i as u32), byte))
    });
    let program = Program::new_without_debug_infos(instructions, base);
    VmExe { program, pc_start: base, init_memory: bytes.collect(), fn_bounds: Default::default() }
}

fn terminate() -> Instruction<F> {
    Instruction::from_isize(SystemOpcode::TERMINATE.global_opcode(), 0, 0, 0, 0, 0)
}

#[test]
fn divisions_are_upstreams() {
    use DivRemOpcode::{DIV, DIVU, REM, REMU};
    let mut random = StdRng::seed_from_u64(5);
    let edges = [0, 1, 2, 7, 255, 256, i32::MAX as u32, i32::MIN as u32, u32::MAX - 1, u32::MAX];
    let pairs = edges.iter().flat_map(|b| edges.iter().map(move |c| (*b, *c))).collect::<Vec<_>>();
    let pairs = pairs.into_iter().chain((0..100).map(|i| (random.random(), random.random::<u32>() >> (i % 32))));
    for (b, c) in pairs {
        // the last two write what they read
        let registers =
            [(DIV, 1, 5, 6), (DIVU, 2, 5, 6), (REM, 3, 5, 6), (REMU, 4, 5, 6), (DIV, 5, 5, 6), (REMU, 6, 6, 6)];
        let divisions = registers.map(|(opcode, a, b, c): (_, isize, isize, isize)| {
            Instruction::from_isize(opcode.global_opcode(), 4 * a, 4 * b, 4 * c, 1, 0)
        });
        let exe = program(&[&divisions[..], &[terminate()]].concat(), 0x1000, &[(5, b), (6, c)]);
        let end = assert_equals_upstream(&SdkVmConfig::riscv32(), &exe, StdIn::default(), 100);
        assert_eq!((end.result, end.frequencies), (Ok(Some(0)), Some(vec![1; 7])), "{b} {c}");
    }
}

#[test]
fn errors_are_upstreams() {
    let config = SdkVmConfig::riscv32();
    let run = |exe: &VmExe<F>| assert_equals_upstream(&config, exe, StdIn::default(), 100).result;
    let division = Instruction::from_isize(DivRemOpcode::DIV.global_opcode(), 4, 8, 12, 1, 0);
    let exe = program(&[division.clone(), terminate()], 0x1000, &[]);
    assert_eq!(run(&exe), Ok(Some(0)));
    // beyond the end, before the beginning, and where there is none
    assert!(run(&program(std::slice::from_ref(&division), 0x1000, &[])).is_err());
    assert!(run(&VmExe { pc_start: 0xffc, ..exe.clone() }).is_err());
    let program = Program::new_without_debug_infos_with_option(&[Some(division), None, Some(terminate())], 0x1000);
    assert!(run(&VmExe { program, ..exe }).is_err());
}

#[test]
fn guests_are_executed_as_upstream_does() {
    let guests: [(&[u8], &str, u64); 3] = [
        (include_bytes!("../../../../examples/guest/hash_chain.elf"), "hash_chain", 10),
        (include_bytes!("../../../../examples/guest/interpreter.elf"), "interpreter", 20),
        (include_bytes!("../../../../examples/guest/extensions.elf"), "extensions", 1),
    ];
    for (elf, name, size) in guests {
        let path = format!("{}/examples/guest/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let config = SdkVmConfig::from_toml(&std::fs::read_to_string(path).unwrap()).unwrap();
        let exe = VmExe::from_elf(decode_elf(elf).unwrap(), config.transpiler()).unwrap();
        let mut input = StdIn::default();
        input.write(&size);
        input.write_bytes(b"a message");
        for instructions in [0, 1, 7_001] {
            let end = assert_equals_upstream(&config, &exe, input.clone(), instructions);
            let executed: u64 = end.frequencies.unwrap().into_iter().map(u64::from).sum();
            assert_eq!((executed, end.result), (instructions, Ok(None)), "{name}");
        }
    }
}
