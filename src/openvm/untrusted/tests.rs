//! The built-in guest's ELF, damaged in every way that its headers allow.

use openvm_sdk::config::{AggregationSystemParams, AppConfig};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::test_utils::default_test_params_small;
use proptest::prelude::*;

use super::*;
use crate::openvm::WgpuSdk;

const ELF: &[u8] = include_bytes!("../../../examples/guest/hash_chain.elf");

/// Where the program headers begin, and how long each is.
const TABLE: usize = 52;
const HEADER: usize = 32;

/// Fields of a program header.
const TYPE: usize = 0;
const OFFSET: usize = 4;
const ADDRESS: usize = 8;
const FILE_SIZE: usize = 16;
const MEMORY_SIZE: usize = 20;
const FLAGS: usize = 24;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The file with a word changed.
fn with_word(at: usize, value: u32) -> Vec<u8> {
    let mut bytes = ELF.to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn with_half(at: usize, value: u16) -> Vec<u8> {
    let mut bytes = ELF.to_vec();
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// The first program header that is loaded, and executable or not.
fn header(executable: bool) -> usize {
    let count = usize::from(u16::from_le_bytes([ELF[44], ELF[45]]));
    let is = |at: &usize| word(ELF, at + TYPE) == PT_LOAD && (word(ELF, at + FLAGS) & PF_X != 0) == executable;
    (0..count).map(|i| TABLE + HEADER * i).find(is).expect("the guest has one")
}

fn refused(bytes: &[u8]) -> String {
    match decode_elf(bytes) {
        Err(error @ ProveError::Sdk(_)) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("decoded"),
    }
}

#[test]
fn the_guest_is_decoded() {
    let elf = decode_elf(ELF).unwrap();
    assert!(
        elf.instructions == Elf::decode(ELF, MEM_SIZE as u32).unwrap().instructions && !elf.instructions.is_empty()
    );
}

#[test]
fn headers_that_lie_are_refused_with_the_reason() {
    let (code, data) = (header(true), header(false));
    let far = MAX_PROGRAM_BASE + 4;
    let cases = [
        (with_half(44, 0), "no executable segment"),
        (with_half(44, u16::MAX), ""),
        (with_half(42, 0), ""),
        (with_half(42, 31), ""),
        (with_word(28, u32::MAX), ""),
        (with_word(code + TYPE, 0), "no executable segment"),
        (with_word(code + FLAGS, 4), "no executable segment"),
        (with_word(code + FILE_SIZE, u32::MAX), "bytes in the file for"),
        (with_word(code + FILE_SIZE, 0), "no instruction"),
        (with_word(code + OFFSET, u32::MAX - 3), "of a file of"),
        (with_word(code + ADDRESS, 0x0020_0802), "is not that of a word"),
        (with_word(data + ADDRESS, u32::MAX - 3), "of a memory of 0x20000000"),
        (with_word(data + MEMORY_SIZE, 1 << 29), "of a memory of 0x20000000"),
        (with_word(data + MEMORY_SIZE, u32::MAX), "of a memory of 0x20000000"),
        (with_word(data + ADDRESS, word(ELF, code + ADDRESS)), "overlap"),
        (with_word(24, 0), "is no instruction of"),
        (with_word(24, word(ELF, 24) + 1), "is no instruction of"),
        (with_word(24, u32::MAX), "is no instruction of"),
        (with_word(code + ADDRESS, far), "program begins at"),
        (with_word(code + ADDRESS, 0x1000_0000), "program begins at"),
        (with_half(18, 62), "must be RISC-V"),
        (with_half(16, 3), "must be executable"),
        ([&ELF[..4], &[2], &ELF[5..]].concat(), ""),
        (ELF[..40].to_vec(), "Elf parse error"),
        (vec![], "Elf parse error"),
        (b"#!/bin/sh\n".to_vec(), "Elf parse error"),
    ];
    for (i, (bytes, reason)) in cases.iter().enumerate() {
        let error = refused(bytes);
        assert!(error.contains("not a guest's ELF: ") && error.contains(reason), "case {i}: {error}");
    }
}

/// Words that upstream's transpilers panic at: exit codes of more than a byte, a setup of no kind of arithmetic.
#[test]
fn instructions_that_are_none_are_refused() {
    let sdk = WgpuSdk::new(
        AppConfig::new(SdkVmConfig::standard(), default_test_params_small()),
        AggregationSystemParams::default(),
    )
    .unwrap();
    let first = word(ELF, header(true) + OFFSET) as usize;
    assert!(transpile(&sdk, decode_elf(ELF).unwrap()).is_ok());
    for instruction in [0x1000_000b, 0xfff0_000b, 0x0bf0_002b] {
        let error = transpile(&sdk, decode_elf(&with_word(first, instruction)).unwrap()).unwrap_err().to_string();
        assert!(error.contains("not a program: "), "{instruction:#x}: {error}");
    }
}

/// The file's size bounds what is made of it.
#[test]
fn zeros_cost_nothing() {
    let data = header(false);
    let room = MEM_SIZE as u32 - 4 - word(ELF, data + ADDRESS);
    let last = !(0..8)
        .map(|i| TABLE + HEADER * i)
        .any(|at| word(ELF, at) == PT_LOAD && word(ELF, at + ADDRESS) > word(ELF, data + ADDRESS));
    let bytes = with_word(data + MEMORY_SIZE, room);
    let start = std::time::Instant::now();
    assert_eq!(decode_elf(&bytes).is_ok(), last);
    assert!(start.elapsed() < std::time::Duration::from_secs(60));
}

#[test]
fn panics_of_upstream_are_errors() {
    assert_eq!(caught(|| 7), Ok(7));
    assert_eq!(caught(|| panic!("number {}", 7)), Err::<(), _>("number 7".into()));
    assert_eq!(caught(|| panic!("text")), Err::<(), _>("text".into()));
}

#[test]
fn programs_that_are_none_are_refused() {
    use openvm_circuit::arch::instructions::{instruction::Instruction, program::Program};
    let config = SdkVmConfig::riscv32();
    let params = default_test_params_small();
    let exe = |instructions: usize, pc_base| {
        let program = Program::new_without_debug_infos(&vec![Instruction::<F>::default(); instructions], pc_base);
        VmExe { program, pc_start: pc_base, init_memory: Default::default(), fn_bounds: Default::default() }
    };
    let check = |exe: &VmExe<F>| check_exe(exe, config.as_ref(), &params).map_err(|error| error.to_string());
    assert_eq!(check(&exe(3, 0x1000)), Ok(()));
    let refused = |exe: VmExe<F>, reason: &str| {
        let error = check(&exe).unwrap_err();
        assert!(error.contains(reason), "{error}");
    };
    refused(exe(0, 0), "no instruction");
    refused(exe(1, u32::MAX), "program begins at");
    refused(exe(1, MAX_PROGRAM_BASE + 4), "program begins at");
    refused(exe((1 << params.log_stacked_height()) + 1, 0), "parameters allow");
    for pc_start in [0, 0x1002, 0x100c, u32::MAX] {
        refused(VmExe { pc_start, ..exe(3, 0x1000) }, "is no instruction of");
    }
    for address in [(2, 1 << 29), (2, u32::MAX), (0, 0), (77, 0)] {
        let init_memory = [(address, 1)].into_iter().collect();
        refused(VmExe { init_memory, ..exe(3, 0x1000) }, "initial memory");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever the headers say, there is an answer, within memory that the file bounds.
    #[test]
    fn any_header_has_an_answer(words in prop::collection::vec((0usize..128, prop_oneof![any::<u32>(), 0u32..64, Just(u32::MAX)]), 1..6)) {
        let mut bytes = ELF.to_vec();
        for (at, value) in words {
            bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        }
        if let Ok(elf) = decode_elf(&bytes) {
            prop_assert!(4 * elf.instructions.len() <= bytes.len() + 4);
        }
    }

    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300), prefix in 0usize..60) {
        let _ = decode_elf(&[&ELF[..prefix], &bytes].concat());
    }
}
