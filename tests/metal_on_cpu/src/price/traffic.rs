//! Lines of memory that a workgroup reads and writes.

use std::ops::Range;

/// Bytes of a line of an Apple GPU's caches.
pub const LINE: usize = 128;

/// Distinct lines of one binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Lines that are read.
    pub read: u64,
    /// Lines that are written.
    pub written: u64,
}

/// What workgroups have touched so far.
#[derive(Default)]
pub struct Traffic {
    bindings: Vec<Binding>,
}

struct Binding {
    memory: Range<usize>,
    read: Set,
    written: Set,
}

impl Traffic {
    /// Of bindings at these addresses.
    pub fn new(bindings: &[Range<usize>]) -> Self {
        let binding = |memory: &Range<usize>| {
            let lines = memory.len().div_ceil(LINE) + 1;
            Binding { memory: memory.clone(), read: Set::new(lines), written: Set::new(lines) }
        };
        Self { bindings: bindings.iter().map(binding).collect() }
    }

    /// An access; what is in no binding is the stack or workgroup memory.
    pub fn touch(&mut self, at: usize, bytes: usize, writes: bool) {
        let Some(binding) = self.bindings.iter_mut().find(|binding| binding.memory.contains(&at)) else { return };
        let start = at - binding.memory.start;
        let set = if writes { &mut binding.written } else { &mut binding.read };
        (start / LINE..=(start + bytes - 1) / LINE).for_each(|line| set.insert(line));
    }

    /// The lines by binding that were touched for the first time since the last call.
    pub fn take(&mut self) -> Vec<Lines> {
        self.bindings.iter_mut().map(|b| Lines { read: b.read.take(), written: b.written.take() }).collect()
    }
}

/// A set of small numbers.
struct Set {
    bits: Vec<u64>,
    new: u64,
}

impl Set {
    fn new(limit: usize) -> Self {
        Self { bits: vec![0; limit.div_ceil(64)], new: 0 }
    }

    fn insert(&mut self, member: usize) {
        let (word, bit) = (&mut self.bits[member / 64], 1 << (member % 64));
        self.new += u64::from(*word & bit == 0);
        *word |= bit;
    }

    /// How many members came since the last call.
    fn take(&mut self) -> u64 {
        std::mem::take(&mut self.new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_once() {
        let mut traffic = Traffic::new(&[1024..2048, 4096..4100]);
        for at in (1024..1024 + 256).step_by(4) {
            traffic.touch(at, 4, false);
        }
        traffic.touch(1024 + 120, 16, true);
        traffic.touch(4096, 4, true);
        traffic.touch(9000, 4, true);
        let expected = [Lines { read: 2, written: 2 }, Lines { read: 0, written: 1 }];
        assert_eq!(traffic.take(), expected);
        traffic.touch(1024, 4, false);
        assert_eq!(traffic.take(), [Lines::default(); 2]);
    }
}
