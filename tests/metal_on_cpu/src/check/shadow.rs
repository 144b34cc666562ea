//! What is remembered of each word of memory: who wrote it last and who has read it, so that an access which nothing orders after
//! those is seen.

use std::array;

use crate::execute::abi::{MEM_DEVICE, MEM_THREADGROUP, SIMDGROUP};

/// Memory, as barriers tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Storage,
    Workgroup,
}

/// One access to one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// [`Clock::now`] at the access; 0 for none.
    pub time: u32,
    pub group: u32,
    pub thread: u32,
    pub atomic: bool,
    /// Address of the code behind it.
    pub site: usize,
}

impl Access {
    fn simdgroup(&self) -> usize {
        (self.thread / SIMDGROUP) as usize
    }
}

/// The times of the last barriers.
#[derive(Clone, Copy, Debug, Default)]
struct Fences {
    any: u32,
    storage: u32,
    workgroup: u32,
}

impl Fences {
    fn set(&mut self, now: u32, flags: u32) {
        self.any = now;
        if flags & MEM_DEVICE != 0 {
            self.storage = now;
        }
        if flags & MEM_THREADGROUP != 0 {
            self.workgroup = now;
        }
    }

    /// The barrier before which writes to this memory are visible now.
    fn of(&self, space: Space) -> u32 {
        match space {
            Space::Storage => self.storage,
            Space::Workgroup => self.workgroup,
        }
    }
}

/// Counts barriers, and knows what they order in the running workgroup.
#[derive(Clone, Debug)]
pub struct Clock {
    now: u32,
    workgroup: Fences,
    simdgroups: [Fences; 32],
}

impl Default for Clock {
    fn default() -> Self {
        Self { now: 1, workgroup: Fences::default(), simdgroups: array::from_fn(|_| Fences::default()) }
    }
}

impl Clock {
    pub fn now(&self) -> u32 {
        self.now
    }

    /// All threads of the workgroup have met at a barrier with these `mem_flags`.
    pub fn barrier(&mut self, flags: u32) {
        self.now += 1;
        self.workgroup.set(self.now, flags);
    }

    /// All threads of a SIMD group have met at a barrier of theirs.
    pub fn simdgroup_barrier(&mut self, simdgroup: usize, flags: u32) {
        self.now += 1;
        self.simdgroups[simdgroup].set(self.now, flags);
    }

    /// Whether barriers that both threads took part in lie between two accesses; `fence` picks those that count.
    fn between(&self, earlier: &Access, later: &Access, fence: impl Fn(&Fences) -> u32) -> bool {
        let same_simdgroup = earlier.simdgroup() == later.simdgroup();
        earlier.group == later.group
            && (earlier.time < fence(&self.workgroup)
                || same_simdgroup && earlier.time < fence(&self.simdgroups[later.simdgroup()]))
    }

    /// Whether the workgroup has met at any barrier since an access of one of its threads.
    pub fn met_since(&self, earlier: &Access) -> bool {
        earlier.time < self.workgroup.any
    }
}

/// What has happened to a word.
#[derive(Clone, Debug, Default)]
pub struct Word {
    write: Access,
    read: Access,
    /// A read by another thread of that workgroup since the last barrier, of another SIMD group if there was one: of two readers, one
    /// is not the writer to come.
    second: Access,
    /// A read by an earlier workgroup. Workgroups run one after the other here, so that one is enough.
    foreign: Access,
}

impl Word {
    /// Whether this workgroup has written the word.
    pub fn is_written_by(&self, group: u32) -> bool {
        self.write.time != 0 && self.write.group == group
    }

    /// An access before that nothing orders before this one, and whether it wrote.
    ///
    /// A barrier orders the writes before it for the memory that its flags name, and no other. Reads before it are over in any case: a
    /// thread does not arrive while it waits for what it loads.
    pub fn conflict(&self, access: &Access, writes: bool, space: Space, clock: &Clock) -> Option<(Access, bool)> {
        let concurrent = |earlier: &Access, fence: &dyn Fn(&Fences) -> u32| {
            let same_group = earlier.group == access.group;
            let same_thread = same_group && earlier.thread == access.thread;
            // each workgroup has its own workgroup memory
            let same_memory = same_group || space == Space::Storage;
            let both_atomic = earlier.atomic && access.atomic;
            earlier.time != 0 && same_memory && !same_thread && !both_atomic && !clock.between(earlier, access, fence)
        };
        if concurrent(&self.write, &|fences| fences.of(space)) {
            return Some((self.write, true));
        }
        let readers = [self.read, self.second, self.foreign];
        let reader = readers.into_iter().find(|read| writes && concurrent(read, &|fences| fences.any));
        reader.map(|read| (read, false))
    }

    pub fn record_read(&mut self, access: &Access, clock: &Clock) {
        let (last, second) = (self.read, self.second);
        if last.time != 0 && last.group != access.group {
            self.foreign = last;
            self.second = Access::default();
        } else if last.time != 0 && last.thread != access.thread {
            let counts = second.time != 0 && !clock.met_since(&second);
            let elsewhere = second.simdgroup() != access.simdgroup() && last.simdgroup() == access.simdgroup();
            if !(counts && elsewhere) {
                self.second = last;
            }
        }
        self.read = *access;
    }

    pub fn record_write(&mut self, access: &Access) {
        self.write = *access;
    }
}

/// Words by index, in pages that exist once they are touched.
#[derive(Default)]
pub struct Shadow {
    pages: Vec<Option<Box<[Word; PAGE]>>>,
}

const PAGE: usize = 64;

impl Shadow {
    pub fn new(words: usize) -> Self {
        Self { pages: (0..words.div_ceil(PAGE)).map(|_| None).collect() }
    }

    pub fn word(&mut self, index: usize) -> &mut Word {
        let page = self.pages[index / PAGE].get_or_insert_with(|| Box::new(array::from_fn(|_| Word::default())));
        &mut page[index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: u32 = MEM_DEVICE | MEM_THREADGROUP;

    /// The conflict that `later` finds after `earlier` and a barrier.
    fn conflict(earlier: (u32, bool), barrier: Option<u32>, later: (u32, bool), space: Space) -> bool {
        let (mut clock, mut word) = (Clock::default(), Word::default());
        let access = |clock: &Clock, thread| Access { time: clock.now(), thread, ..Access::default() };
        let first = access(&clock, earlier.0);
        if earlier.1 {
            word.record_write(&first);
        } else {
            word.record_read(&first, &clock);
        }
        if let Some(flags) = barrier {
            clock.barrier(flags);
        }
        word.conflict(&access(&clock, later.0), later.1, space, &clock).is_some()
    }

    #[test]
    fn barriers_order_the_memory_they_name() {
        let (write, read) = ((0, true), (1, false));
        for space in [Space::Storage, Space::Workgroup] {
            assert!(conflict(write, None, read, space));
            assert!(!conflict(write, Some(BOTH), read, space));
            assert!(!conflict(write, Some(BOTH), (1, true), space));
            assert_eq!(conflict(write, Some(MEM_THREADGROUP), read, space), space == Space::Storage);
            assert_eq!(conflict(write, Some(MEM_DEVICE), read, space), space == Space::Workgroup);
        }
    }

    #[test]
    fn reads_are_over_at_any_barrier() {
        assert!(conflict((0, false), None, (1, true), Space::Storage));
        assert!(!conflict((0, false), Some(0), (1, true), Space::Storage));
        assert!(!conflict((0, false), None, (0, true), Space::Storage));
        assert!(!conflict((0, false), None, (1, false), Space::Storage));
    }

    #[test]
    fn every_reader_counts() {
        let clock = Clock::default();
        for writer in [0, 1, 2, 32, 33] {
            let mut word = Word::default();
            for thread in [0, 33, 1, 2, 1, 0] {
                word.record_read(&Access { time: 1, thread, ..Access::default() }, &clock);
            }
            let write = Access { time: 1, thread: writer, ..Access::default() };
            assert!(word.conflict(&write, true, Space::Storage, &clock).is_some());
        }
    }

    #[test]
    fn workgroups_are_never_ordered() {
        let (mut clock, mut word) = (Clock::default(), Word::default());
        word.record_read(&Access { time: 1, ..Access::default() }, &clock);
        clock.barrier(BOTH);
        let mut later = Access { time: clock.now(), group: 1, ..Access::default() };
        assert!(word.conflict(&later, true, Space::Storage, &clock).is_some());
        word.record_read(&later, &clock);
        assert!(
            word.conflict(&later, true, Space::Storage, &clock).is_some(),
            "the first workgroup's read is remembered"
        );
        later.atomic = true;
        assert!(word.conflict(&later, true, Space::Storage, &clock).is_some());
    }

    #[test]
    fn workgroup_memory_is_each_workgroups_own() {
        let (clock, mut word) = (Clock::default(), Word::default());
        word.record_write(&Access { time: 1, ..Access::default() });
        let other = Access { time: 1, group: 1, ..Access::default() };
        assert!(word.conflict(&other, true, Space::Workgroup, &clock).is_none());
        assert!(!word.is_written_by(1));
        assert!(word.conflict(&other, true, Space::Storage, &clock).is_some());
    }

    #[test]
    fn barriers_of_a_simd_group_are_its_own() {
        let (mut clock, mut word) = (Clock::default(), Word::default());
        word.record_write(&Access { time: clock.now(), ..Access::default() });
        clock.simdgroup_barrier(0, MEM_THREADGROUP);
        let later = |thread| Access { time: clock.now(), thread, ..Access::default() };
        assert!(word.conflict(&later(31), false, Space::Workgroup, &clock).is_none());
        assert!(word.conflict(&later(32), false, Space::Workgroup, &clock).is_some());
        assert!(word.conflict(&later(31), false, Space::Storage, &clock).is_some());
    }

    #[test]
    fn readers_of_other_simd_groups_are_not_forgotten() {
        let (mut clock, mut word) = (Clock::default(), Word::default());
        let access = |clock: &Clock, thread| Access { time: clock.now(), thread, ..Access::default() };
        for thread in [40, 1, 2] {
            word.record_read(&access(&clock, thread), &clock);
        }
        clock.simdgroup_barrier(0, MEM_THREADGROUP);
        assert!(word.conflict(&access(&clock, 0), true, Space::Workgroup, &clock).is_some());
        clock.barrier(MEM_THREADGROUP);
        assert!(word.conflict(&access(&clock, 0), true, Space::Workgroup, &clock).is_none());
    }
}
