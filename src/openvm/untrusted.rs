//! Programs from anywhere: what upstream's code would end the process for, panic on or fill the memory with is an error here.

use std::sync::Arc;

use elf::{
    abi::{EM_RISCV, ET_EXEC, PF_X, PT_LOAD},
    endian::LittleEndian,
    file::Class,
    segment::ProgramHeader,
    ElfBytes,
};
use openvm_circuit::arch::{instructions::exe::VmExe, SystemConfig, VmBuilder};
use openvm_sdk::{types::ExecutableFormat, SdkError};
use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use openvm_transpiler::{elf::Elf, openvm_platform::memory::MEM_SIZE};

use super::{Engine, ProveError, WgpuSdkOf, WgpuVmBuilder};
use crate::error::caught;

/// Where programs begin at the latest. Upstream's interpreters have some 60 bytes for each word below, so this is 250 MB of nothing; its
/// linker script puts programs at 2 MiB.
const MAX_PROGRAM_BASE: u32 = 16 << 20;

/// Bytes of an instruction.
const WORD: u64 = 4;

/// An ELF, which the SDK's own conversion would panic on if it is none.
///
/// What it says is checked before anything is made of it, so a file costs memory by its own size alone: zeros behind a segment's bytes are
/// left out, since memory is zero at first.
///
/// # Errors
///
/// [`ProveError::Sdk`] with what is wrong about it.
pub fn decode_elf(bytes: &[u8]) -> Result<Elf, ProveError> {
    let bad = |reason: &str| sdk(format!("not a guest's ELF: {reason}"));
    let file = checked(bytes).map_err(|reason| bad(&reason))?;
    caught(|| Elf::decode(&file, MEM_SIZE as u32))
        .map_err(|reason| bad(&reason))?
        .map_err(|error| bad(&format!("{error:#}")))
}

/// The VM's program of an ELF, or of a program in that form. Upstream's transpilers panic at instructions that they do not like, an exit code
/// of more than a byte for example, which is an error here.
///
/// # Errors
///
/// [`ProveError::Sdk`] if the VM has no transpiler or that fails.
pub fn transpile<B>(sdk: &WgpuSdkOf<B>, executable: impl Into<ExecutableFormat>) -> Result<Arc<VmExe<F>>, ProveError>
where
    WgpuVmBuilder<B>: VmBuilder<Engine>,
{
    let exe =
        caught(|| sdk.convert_to_exe(executable)).map_err(|reason| self::sdk(format!("not a program: {reason}")))?;
    Ok(exe?)
}

/// The file without zeros to fill in, after a check of all that upstream's decoder and what follows take for granted.
fn checked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|error| format!("Elf parse error: {error}"))?;
    let header = &elf.ehdr;
    let holds = |holds: bool, otherwise: &str| if holds { Ok(()) } else { Err(otherwise.to_owned()) };
    holds(header.class == Class::ELF32, "Not a 32-bit ELF")?;
    holds(header.e_machine == EM_RISCV, "Invalid machine type, must be RISC-V")?;
    holds(header.e_type == ET_EXEC, "Invalid ELF type, must be executable")?;
    let segments = elf.segments().ok_or("Missing segment table")?;
    holds(segments.len() <= 256, "Too many program headers")?;
    let mut segments: Vec<_> =
        segments.iter().enumerate().filter(|(_, s)| s.p_type == PT_LOAD && s.p_memsz > 0).collect();
    segments.sort_by_key(|(_, segment)| segment.p_vaddr);
    for (number, segment) in &segments {
        check_segment(segment, bytes.len() as u64).map_err(|reason| format!("segment {number}: {reason}"))?;
    }
    let in_file: u64 = segments.iter().map(|(_, segment)| segment.p_filesz).sum();
    holds(in_file <= bytes.len() as u64, "its segments are more than the file")?;
    for pair in segments.windows(2) {
        let [(first, a), (second, b)] = pair else { unreachable!("windows of two") };
        let end = (a.p_vaddr + a.p_memsz).next_multiple_of(WORD);
        holds(end <= b.p_vaddr, &format!("segments {first} and {second} overlap"))?;
    }
    check_code(header.e_entry, segments.iter().map(|(_, segment)| segment).filter(|s| s.p_flags & PF_X != 0))?;
    Ok(without_zeros(bytes, header.e_phoff, header.e_phentsize, segments.iter().map(|(number, _)| *number)))
}

fn check_segment(segment: &ProgramHeader, file: u64) -> Result<(), String> {
    let ProgramHeader { p_offset, p_vaddr, p_filesz, p_memsz, .. } = *segment;
    if p_filesz > p_memsz {
        return Err(format!("{p_filesz} bytes in the file for {p_memsz} in memory"));
    }
    if p_offset.checked_add(p_filesz).is_none_or(|end| end > file) {
        return Err(format!("{p_filesz} bytes at {p_offset} of a file of {file}"));
    }
    if !p_vaddr.is_multiple_of(WORD) {
        return Err(format!("its address {p_vaddr:#x} is not that of a word"));
    }
    if p_vaddr.checked_add(p_memsz).is_none_or(|end| end >= MEM_SIZE as u64) {
        return Err(format!("{p_memsz} bytes at {p_vaddr:#x} of a memory of {MEM_SIZE:#x}"));
    }
    Ok(())
}

/// The instructions are there, in one piece, where programs lie, and the entry is one of them.
fn check_code<'a>(entry: u64, segments: impl Iterator<Item = &'a ProgramHeader>) -> Result<(), String> {
    let segments: Vec<_> = segments.collect();
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err("no executable segment".into());
    };
    for pair in segments.windows(2) {
        let end = pair[0].p_vaddr + pair[0].p_filesz;
        if end != pair[1].p_vaddr {
            return Err(format!("executable segments with a gap between, from {end:#x} to {:#x}", pair[1].p_vaddr));
        }
    }
    let (base, end) = (first.p_vaddr, last.p_vaddr + last.p_filesz);
    if base >= end {
        return Err("no instruction".into());
    }
    check_base(base)?;
    if !(base..end).contains(&entry) || !entry.is_multiple_of(WORD) {
        return Err(format!("the entry {entry:#x} is no instruction of {base:#x} to {end:#x}"));
    }
    Ok(())
}

fn check_base(base: u64) -> Result<(), String> {
    match base <= u64::from(MAX_PROGRAM_BASE) {
        true => Ok(()),
        false => Err(format!("the program begins at {base:#x}, at most {MAX_PROGRAM_BASE:#x} is possible")),
    }
}

/// The file with segments that end where their bytes do.
fn without_zeros(bytes: &[u8], table: u64, entry: u16, segments: impl Iterator<Item = usize>) -> Vec<u8> {
    // of a program header of 32 bits: where the sizes in the file and in memory are
    const FILE_SIZE: usize = 16;
    const MEMORY_SIZE: usize = 20;
    let mut file = bytes.to_vec();
    for segment in segments {
        let header = table as usize + segment * usize::from(entry);
        file.copy_within(header + FILE_SIZE..header + FILE_SIZE + 4, header + MEMORY_SIZE);
    }
    file
}

/// A program in the VM's form, which may come from a file, too: that it is one, lies where it can, and fits what proves it.
///
/// # Errors
///
/// [`ProveError::Sdk`] with what is wrong about it.
pub(super) fn check_exe(exe: &VmExe<F>, config: &SystemConfig, params: &SystemParams) -> Result<(), ProveError> {
    let program = &exe.program;
    let instructions = program.instructions_and_debug_infos.len() as u64;
    let fail = |reason: String| Err(sdk(format!("not a program for this VM: {reason}")));
    if program.instructions_and_debug_infos.iter().all(Option::is_none) {
        return fail("no instruction".into());
    }
    let base = u64::from(program.pc_base);
    if let Err(reason) = check_base(base) {
        return fail(reason);
    }
    let rows = 1u64 << params.log_stacked_height();
    if instructions.next_power_of_two() > rows {
        return fail(format!("{instructions} instructions, its parameters allow {rows}"));
    }
    let (start, end) = (u64::from(exe.pc_start), base + WORD * instructions);
    if !(base..end).contains(&start) || !start.is_multiple_of(WORD) || !base.is_multiple_of(WORD) {
        return fail(format!("the start {start:#x} is no instruction of {base:#x} to {end:#x}"));
    }
    let spaces = &config.memory_config.addr_spaces;
    let outside = |&&(space, address): &&(u32, u32)| {
        spaces.get(space as usize).is_none_or(|space| address as usize >= space.num_cells)
    };
    if let Some((space, address)) = exe.init_memory.keys().find(outside) {
        return fail(format!("its initial memory has {address:#x} of address space {space}, which the VM has not"));
    }
    Ok(())
}

pub(super) fn sdk(reason: String) -> ProveError {
    SdkError::Other(eyre::Report::msg(reason)).into()
}

#[cfg(test)]
mod tests;
