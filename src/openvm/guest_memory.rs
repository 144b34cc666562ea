//! A guest's memory as far as it is in use.
//!
//! Upstream's system chips keep a copy of the memory that a segment starts from, and upstream's copy of an address space touches all of
//! it: 512 MiB for RV32, of which a guest uses some. They read it where the segment has touched it and up to the last page that is not zero; so a
//! copy that ends there serves them as well. Measured on 2 cores: 0.35 to 0.5 s for a copy of everything, 5 ms for this one.

use openvm_circuit::{
    arch::{AddressSpaceHostConfig, AddressSpaceHostLayout},
    system::{
        memory::{
            online::{AddressMap, GuestMemory, LinearMemory, MemoryBackend, PAGE_SIZE},
            CHUNK,
        },
        TouchedMemory,
    },
};
use rayon::prelude::*;

use super::mapped::written_bytes;

/// Bytes that one task reads or copies.
const TASK_BYTES: usize = 64 * PAGE_SIZE;

/// A copy of each address space up to its last page that is not zero.
pub(super) fn copy_used(memory: &GuestMemory) -> GuestMemory {
    let AddressMap { mem, config } = &memory.memory;
    let mem = mem.iter().map(|space| copy(space.as_slice(), used_bytes(space.as_slice()))).collect();
    GuestMemory::new(AddressMap { mem, config: config.clone() })
}

/// Extends a copy, with zeros, to everything that was touched.
pub(super) fn extend_to_touched<F>(memory: &mut GuestMemory, touched: &TouchedMemory<F>) {
    let AddressMap { mem, config } = &mut memory.memory;
    let mut last = vec![None; mem.len()];
    for ((space, cell), _) in touched {
        let last = &mut last[*space as usize];
        *last = (*last).max(Some(*cell));
    }
    for ((space, config), last) in mem.iter_mut().zip(config).zip(last) {
        let bytes = last.map_or(0, |cell| bytes_to_chunk(config, cell));
        if space.size() < bytes {
            *space = copy(space.as_slice(), bytes);
        }
    }
}

/// Bytes of an address space to the end of the chunk with this cell, in whole pages.
fn bytes_to_chunk(config: &AddressSpaceHostConfig, cell: u32) -> usize {
    let cells = (cell as usize + 1).next_multiple_of(CHUNK);
    let size = config.layout.size();
    (cells * size).next_multiple_of(PAGE_SIZE).min(config.num_cells * size)
}

/// Bytes up to the end of the last page that is not zero.
fn used_bytes(space: &[u8]) -> usize {
    let space = &space[..written_bytes(space).unwrap_or(space.len())];
    // a page at a time without branches, so that it takes the width of the machine's vectors
    let is_used = |page: &[u8]| page.iter().fold(0, |bits, byte| bits | byte) != 0;
    let Some(task) = space.par_chunks(TASK_BYTES).position_last(|task| task.chunks(PAGE_SIZE).any(is_used)) else {
        return 0;
    };
    let task = task * TASK_BYTES..space.len().min((task + 1) * TASK_BYTES);
    let page = space[task.clone()].chunks(PAGE_SIZE).rposition(is_used).expect("the task has one");
    task.end.min(task.start + (page + 1) * PAGE_SIZE)
}

/// Memory of `bytes` bytes that starts with `space`, or with as much of it as there is room for.
fn copy(space: &[u8], bytes: usize) -> MemoryBackend {
    let mut copy = MemoryBackend::new(bytes);
    let tasks = copy.as_mut_slice().par_chunks_mut(TASK_BYTES).zip(space.par_chunks(TASK_BYTES));
    tasks.for_each(|(to, from)| {
        let len = to.len().min(from.len());
        to[..len].copy_from_slice(&from[..len]);
    });
    copy
}

#[cfg(test)]
mod tests {
    use openvm_circuit::{
        arch::{MemoryConfig, DEFAULT_BLOCK_SIZE},
        system::memory::TimestampedValues,
    };

    use super::*;

    const SPACE: usize = 2;

    fn memory_with(bytes: &[usize]) -> GuestMemory {
        let mut memory = GuestMemory::new(AddressMap::from_mem_config(&MemoryConfig::default()));
        let space = memory.memory.mem[SPACE].as_mut_slice();
        bytes.iter().for_each(|at| space[*at] = *at as u8 | 1);
        memory
    }

    fn touched(pointer: u32) -> TouchedMemory<u32> {
        vec![((SPACE as u32, pointer), TimestampedValues { timestamp: 1, values: [7; DEFAULT_BLOCK_SIZE] })]
    }

    #[test]
    fn copies_end_with_the_last_page_in_use() {
        let len = memory_with(&[]).memory.mem[SPACE].size();
        let cases =
            [vec![], vec![0], vec![3 * PAGE_SIZE - 1], vec![5, TASK_BYTES, 9 * TASK_BYTES + PAGE_SIZE], vec![len - 1]];
        for used in cases {
            let memory = memory_with(&used);
            let copy = copy_used(&memory);
            let (space, copy) = (memory.memory.mem[SPACE].as_slice(), copy.memory.mem[SPACE].as_slice());
            assert_eq!(copy.len(), used.last().map_or(0, |last| (last + 1).next_multiple_of(PAGE_SIZE)));
            assert!(*copy == space[..copy.len()]);
        }
    }

    #[test]
    fn copies_extend_to_what_is_touched() {
        let memory = memory_with(&[5]);
        let len = memory.memory.mem[SPACE].size();
        let ends = [(0, PAGE_SIZE), (PAGE_SIZE - 4, PAGE_SIZE), (PAGE_SIZE, 2 * PAGE_SIZE), (len - 4, len)];
        for (pointer, end) in ends {
            let mut copy = copy_used(&memory);
            extend_to_touched(&mut copy, &touched(pointer as u32));
            let copy = copy.memory.mem[SPACE].as_slice();
            assert_eq!(copy.len(), end);
            assert!(*copy == memory.memory.mem[SPACE].as_slice()[..end]);
        }
        // address spaces that are smaller than a page stay so
        let mut registers = copy_used(&memory);
        let config = &memory.memory.config[1];
        extend_to_touched(&mut registers, &vec![((1, 4), touched(0)[0].1)]);
        assert_eq!(registers.memory.mem[1].size(), config.num_cells * config.layout.size());
    }
}
