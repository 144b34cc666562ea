//! Runs the threads of a workgroup in turns, from barrier to barrier.

use super::{
    abi::{Launch, RunThread, SIMDGROUP},
    fiber::{Call, State},
    order::Turns,
    simdgroup::Simdgroup,
};

/// Who hears of the workgroup's progress.
pub trait Observer {
    /// All threads have arrived at a barrier with these `mem_flags`.
    fn barrier(&mut self, flags: u32);

    /// All threads of a SIMD group have arrived at a barrier of theirs with these `mem_flags`.
    fn simdgroup_barrier(&mut self, simdgroup: usize, flags: u32);

    /// Not all threads arrive together.
    fn diverged(&mut self, divergence: Divergence);
}

/// A place that not all threads reach together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// It is a SIMD-group function or barrier, not a barrier of the workgroup.
    pub simdgroup: bool,
    /// Its line of Metal.
    pub line: u32,
    /// Which threads arrive.
    pub message: String,
}

/// The fibers of workgroups that one operating system's thread runs.
#[derive(Default)]
pub struct Workgroup {
    simdgroups: Vec<Simdgroup>,
    turns: Vec<u32>,
}

impl Workgroup {
    /// Runs one workgroup of `threads` threads to its end, or to where its threads cannot go on.
    ///
    /// # Safety
    ///
    /// `run` may be called with `launch`.
    pub unsafe fn run(
        &mut self,
        (run, launch): (RunThread, &Launch),
        threads: usize,
        order: &mut Turns,
        observer: &mut dyn Observer,
    ) {
        let width = SIMDGROUP as usize;
        let count = threads.div_ceil(width);
        while self.simdgroups.len() < count {
            self.simdgroups.push(Simdgroup::new(self.simdgroups.len() as u32));
        }
        let simdgroups = &mut self.simdgroups[..count];
        for (i, simdgroup) in simdgroups.iter_mut().enumerate() {
            // SAFETY: by this function's contract; none of these fibers is resumed after it
            unsafe { simdgroup.start(width.min(threads - i * width), run, launch) };
        }
        loop {
            order.deal(count, &mut self.turns);
            for turn in &self.turns {
                simdgroups[*turn as usize].run(order, observer);
            }
            if simdgroups.iter().any(Simdgroup::has_stopped) || !meet(simdgroups, observer) {
                break;
            }
        }
        simdgroups.iter_mut().for_each(Simdgroup::abandon);
    }
}

/// Lets all threads go on if they wait at the same barrier; whether they do.
fn meet(simdgroups: &[Simdgroup], observer: &mut dyn Observer) -> bool {
    let fibers = || simdgroups.iter().flat_map(Simdgroup::fibers);
    let calls = fibers().map(|fiber| match fiber.state.get() {
        State::AtBarrier(call) => Some(call),
        _ => None,
    });
    let calls: Vec<Option<Call>> = calls.collect();
    let Some(first) = calls.iter().flatten().min_by_key(|call| call.line).copied() else { return false };
    let arrived = calls.iter().filter(|call| **call == Some(first)).count();
    if arrived != calls.len() {
        let returned = calls.iter().filter(|call| call.is_none()).count();
        let message = format!(
            "{arrived} of {} threads wait, {returned} returned, {} wait at another barrier",
            calls.len(),
            calls.len() - arrived - returned,
        );
        observer.diverged(Divergence { simdgroup: false, line: first.line, message });
        return false;
    }
    observer.barrier(first.flags);
    fibers().for_each(|fiber| fiber.state.set(State::Ready));
    true
}
