//! Memory for records, which takes gigabytes: on huge pages, and provided by other threads before it is needed.

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Bytes that one task provides.
const TASK: usize = 8 * HUGE;

/// Whole huge pages of memory that has not been touched yet.
#[derive(Clone, Copy)]
pub(super) struct Pages {
    start: usize,
    bytes: usize,
}

impl Pages {
    /// Asks for huge pages: a fault for each 2 MiB instead of each 4 KiB. Returns those of the first `used` elements, in parts for tasks of
    /// their own. Systems that have none do as before.
    pub(super) fn of<T>(memory: &mut [T], used: usize) -> Vec<Self> {
        let all = Self::within(memory);
        all.advise(Advice::Huge);
        let used = memory.len().min(used);
        let Self { start, bytes } = Self::within(&mut memory[..used]);
        let parts = (0..bytes).step_by(TASK);
        parts.map(|at| Self { start: start + at, bytes: TASK.min(bytes - at) }).collect()
    }

    fn within<T>(memory: &mut [T]) -> Self {
        let bytes = memory.as_mut_ptr_range();
        let (start, end) = ((bytes.start as usize).next_multiple_of(HUGE), bytes.end as usize / HUGE * HUGE);
        Self { start, bytes: end.saturating_sub(start) }
    }

    /// Has the system provide the memory, as touching it would. Its contents stay, and other threads may use it meanwhile.
    ///
    /// # Safety
    ///
    /// The memory must not have been given back.
    pub(super) unsafe fn populate(self) {
        self.advise(Advice::Populate);
    }

    /// Where the system does not know the advice (huge pages switched off, Linux before 5.14), memory is provided when it is touched.
    fn advise(self, advice: Advice) {
        #[cfg(target_os = "linux")]
        if self.bytes > 0 {
            let advice = match advice {
                Advice::Huge => libc::MADV_HUGEPAGE,
                Advice::Populate => libc::MADV_POPULATE_WRITE,
            };
            // SAFETY: neither changes what is in memory, and both fail where there is none
            unsafe { libc::madvise(self.start as *mut libc::c_void, self.bytes, advice) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (self, advice);
    }
}

#[derive(Clone, Copy)]
enum Advice {
    Huge,
    Populate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_within_memory_and_keep_what_is_in_them() {
        let mut memory = vec![0u32; 3 * TASK / 4 + 5];
        let (used, range) = (2 * TASK / 4, memory.as_mut_ptr_range());
        let pages = Pages::of(&mut memory, used);
        memory[used / 2] = 7;
        let (mut end, mut bytes) = (range.start as usize, 0);
        for part in pages {
            assert!(part.start >= end && part.bytes <= TASK && part.bytes > 0);
            assert_eq!(part.start % HUGE + part.bytes % HUGE, 0);
            end = part.start + part.bytes;
            bytes += part.bytes;
            // SAFETY: `memory` is there
            unsafe { part.populate() };
        }
        assert!(end <= range.start as usize + 4 * used && bytes > 4 * used - 2 * HUGE);
        assert!(memory.iter().enumerate().all(|(i, value)| *value == if i == used / 2 { 7 } else { 0 }));
        assert!(Pages::of(&mut [0u8; 100], 100).is_empty());
    }
}
