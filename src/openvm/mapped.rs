//! Which part of a large mapping was ever written, without reading all of it.
//!
//! A guest's address space is a mapping of 512 MiB, of which a guest uses some. To read the rest means 131,072 page faults, each for the page
//! of zeros: 18 ms on a server, ten times as much when eight threads do it at once. The system's table of the process's pages says the same in 1 MiB.

/// Bytes up to the end of the last page that may hold something other than zeros; `None` where the system does not say.
///
/// `memory` has to be private memory of the process that began as zeros, as [`MemoryBackend`](openvm_circuit::system::memory::online) is.
pub(super) fn written_bytes(memory: &[u8]) -> Option<usize> {
    #[cfg(target_os = "linux")]
    return linux::written_bytes(memory).ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = memory;
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs::File, io, os::unix::fs::FileExt};

    /// Bits of an entry: the page is in memory, or was written out.
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;

    /// See `Documentation/admin-guide/mm/pagemap.rst` of Linux: 8 bytes a page.
    pub(super) fn written_bytes(memory: &[u8]) -> io::Result<usize> {
        // SAFETY: asks for a number
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let range = memory.as_ptr_range();
        let (first, last) = (range.start as usize / page, (range.end as usize).div_ceil(page));
        let mut entries = vec![0u64; last - first];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut entries);
        File::open("/proc/self/pagemap")?.read_exact_at(bytes, first as u64 * 8)?;
        let written = entries.iter().rposition(|entry| entry & (PRESENT | SWAPPED) != 0);
        let end = written.map_or(0, |at| (first + at + 1) * page);
        Ok(end.saturating_sub(range.start as usize).min(memory.len()))
    }
}

#[cfg(test)]
mod tests {
    use openvm_circuit::system::memory::online::{LinearMemory, MemoryBackend, PAGE_SIZE};

    use super::*;

    #[test]
    fn what_was_written_is_known() {
        let mut memory = MemoryBackend::new(300 * PAGE_SIZE);
        for at in [0, 3 * PAGE_SIZE - 1, 299 * PAGE_SIZE] {
            memory.as_mut_slice()[at] = 1;
            assert!(written_bytes(memory.as_slice()).is_none_or(|bytes| bytes > at && bytes <= memory.size()));
        }
        assert!(written_bytes(&[]).is_none_or(|bytes| bytes == 0));
    }
}
