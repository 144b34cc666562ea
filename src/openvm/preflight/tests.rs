//! The first segment, executed while it is being found, against the same segment when it is known.

use std::{thread, time::Duration};

use openvm_circuit::arch::{instructions::exe::VmExe, Streams, SystemConfig, VmExecutionConfig};
use openvm_sdk::StdIn;
use openvm_sdk_config::{SdkVmConfig, SdkVmConfigExecutor, TranspilerConfig};
use openvm_transpiler::FromElf;

use super::*;
use crate::openvm::decode_elf;

const ELF: &[u8] = include_bytes!("../../../examples/guest/hash_chain.elf");

/// Columns of the memory for each executor's records, as wide as the widest AIR of the guest.
const WIDTH: usize = 1 << 12;

struct Guest {
    interpreter: Interpreter<SdkVmConfigExecutor<F>>,
    config: SdkVmConfig,
    exe: VmExe<F>,
    airs: Vec<AirRecords>,
    pool: Pool,
}

impl Guest {
    fn new() -> Self {
        let config = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
        let exe = VmExe::from_elf(decode_elf(ELF).unwrap(), config.transpiler()).unwrap();
        let executors = VmExecutionConfig::<F>::create_executors(&config).unwrap();
        // an AIR for each executor
        let airs: Vec<usize> = (0..executors.executors.len()).collect();
        let records = vec![AirRecords { width: WIDTH, kernel: None }; airs.len()];
        let interpreter = Interpreter::new(&exe.program, executors, &airs).unwrap();
        Self { interpreter, config, exe, airs: records, pool: Pool::default() }
    }

    fn state(&self) -> VmState<F, GuestMemory> {
        let mut input = StdIn::default();
        input.write(&2u64);
        input.write_bytes(b"a message");
        let system: &SystemConfig = self.config.as_ref();
        VmState::initial(system, &self.exe.init_memory, self.exe.pc_start, Streams::from(input))
    }

    fn segment(&self, instructions: u64) -> Segment {
        Segment::new(0, instructions, vec![1 << 13; self.airs.len()])
    }

    /// The first segment if it has so many instructions, which becomes known when `find` is done.
    fn first(&self, find: impl FnOnce(&Metered) + Send) -> Option<Output> {
        let metered = Metered::default();
        thread::scope(|scope| {
            scope.spawn(|| find(&metered));
            preflight_first(&self.interpreter, self.state(), &metered, &self.airs, &self.pool).unwrap()
        })
    }
}

/// All that can be compared.
fn parts(output: Output) -> (String, Vec<Vec<F>>, u32) {
    let Output { system_records, record_arenas, to_state } = output;
    let SystemRecords { from_state, to_state: to, exit_code, filtered_exec_frequencies, touched_memory } =
        system_records;
    let touched: Vec<_> = touched_memory.iter().map(|(at, touched)| (at, touched.timestamp, touched.values)).collect();
    let records = record_arenas.into_iter().map(|records| {
        let mut matrix = records.into_matrix();
        matrix.trace_buffer.truncate(matrix.trace_offset);
        matrix.trace_buffer
    });
    let system = format!("{from_state:?} {to:?} {exit_code:?} {filtered_exec_frequencies:?} {touched:?}");
    (system, records.collect(), to_state.pc())
}

#[test]
fn the_first_segment_is_the_same() {
    let guest = Guest::new();
    for instructions in [1, 5_000, 9_000] {
        let segment = guest.segment(instructions);
        let known = preflight(&guest.interpreter, guest.state(), &segment, &guest.airs, &guest.pool).unwrap();
        let metered = Metered::default();
        metered.push(segment);
        let first = preflight_first(&guest.interpreter, guest.state(), &metered, &guest.airs, &guest.pool).unwrap();
        let (first, known) = (parts(first.expect("it is known")), parts(known));
        assert!(first == known, "{instructions} instructions: {} {}", first.0, known.0);
    }
}

#[test]
fn a_program_that_ends_waits_for_its_segment() {
    let guest = Guest::new();
    let all = guest.first(|metered| metered.push(guest.segment(u64::MAX)));
    assert!(all.is_none(), "fewer instructions than the segment has");
    // a busy machine may find the segment before it executes anything, but not whatever finding takes
    let overtaken = (0..6).any(|doubled| {
        let found = guest.first(|metered| {
            thread::sleep(Duration::from_millis(100 << doubled));
            metered.push(guest.segment(10));
        });
        found.is_none()
    });
    assert!(overtaken, "more instructions than the segment has");
    assert!(guest.first(Metered::end).is_none(), "no segment");
}
