//! Runs the threads of a workgroup in turns, from barrier to barrier.

use std::ops::Range;

use super::{
    abi::{Exchange, Launch, RunThread, Value, SIMDGROUP},
    fiber::{Call, Slot, State},
    order::Turns,
};

/// Who hears of the workgroup's progress.
pub trait Observer {
    /// All threads have arrived at a barrier with these `mem_flags`.
    fn barrier(&mut self, flags: u32);

    /// Threads of a SIMD group have arrived at a barrier of theirs with these `mem_flags`, or (0) at another SIMD-group function.
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
    slots: Vec<Slot>,
    turns: Vec<u32>,
    /// What the lanes of each SIMD group have handed in last.
    values: Vec<[Value; SIMDGROUP as usize]>,
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
        while self.slots.len() < threads {
            self.slots.push(Slot::new(self.slots.len() as u32));
        }
        self.values.resize(self.values.len().max(threads.div_ceil(SIMDGROUP as usize)), Default::default());
        for slot in &mut self.slots[..threads] {
            // SAFETY: by this function's contract; none of these fibers is resumed after it
            unsafe { slot.start(run, launch) };
        }
        loop {
            self.take_turns(threads, order);
            if self.stopped(threads) {
                break;
            }
            let progress = self.meet_in_simdgroups(threads, observer) || self.meet_at_barrier(threads, observer);
            if !progress {
                break;
            }
        }
        self.slots[..threads].iter_mut().for_each(Slot::abandon);
    }

    /// Runs every fiber that is ready until it waits.
    fn take_turns(&mut self, threads: usize, order: &mut Turns) {
        order.deal(threads, &mut self.turns);
        for turn in &self.turns {
            let slot = &mut self.slots[*turn as usize];
            if slot.fiber().state.get() == State::Ready {
                slot.resume();
            }
        }
    }

    fn stopped(&self, threads: usize) -> bool {
        self.states(0..threads).any(|state| state == State::Stopped)
    }

    fn states(&self, threads: Range<usize>) -> impl Iterator<Item = State> + '_ {
        self.slots[threads].iter().map(|slot| slot.fiber().state.get())
    }

    /// Lets those threads of each SIMD group go on that wait for each other; whether there are any.
    fn meet_in_simdgroups(&mut self, threads: usize, observer: &mut dyn Observer) -> bool {
        let width = SIMDGROUP as usize;
        let mut progress = false;
        for simdgroup in 0..threads.div_ceil(width) {
            let lanes = simdgroup * width..threads.min((simdgroup + 1) * width);
            // threads that left a loop early wait further down for those still inside
            let waiting = self.states(lanes.clone()).filter_map(|state| match state {
                State::AtSimdgroup(call) => Some(call),
                _ => None,
            });
            let Some(call) = waiting.min_by_key(|call| call.line) else { continue };
            progress = true;
            let active = self.exchange(simdgroup, lanes.clone(), call);
            if active.count_ones() as usize != lanes.len() {
                observer.diverged(Divergence {
                    simdgroup: true,
                    line: call.line,
                    message: format!(
                        "of {} threads of SIMD group {simdgroup}, those of mask {active:#x} arrive",
                        lanes.len()
                    ),
                });
            }
            observer.simdgroup_barrier(simdgroup, call.flags);
        }
        progress
    }

    /// Gives the lanes that wait at `call` what they handed in, and returns their mask.
    fn exchange(&mut self, simdgroup: usize, lanes: Range<usize>, call: Call) -> u32 {
        let slots = &self.slots[lanes];
        let arrived =
            || slots.iter().map(Slot::fiber).enumerate().filter(|(_, f)| f.state.get() == State::AtSimdgroup(call));
        let values = &mut self.values[simdgroup];
        let mut active = 0;
        for (lane, fiber) in arrived() {
            values[lane] = fiber.handed_in.get();
            active |= 1 << lane;
        }
        for (lane, fiber) in arrived() {
            fiber.exchange.set(Exchange { values: values.as_ptr(), active, lane: lane as u32 });
            fiber.state.set(State::Ready);
        }
        active
    }

    /// Lets all threads go on that wait at the same barrier; whether they can.
    fn meet_at_barrier(&mut self, threads: usize, observer: &mut dyn Observer) -> bool {
        let calls = self.states(0..threads).map(|state| match state {
            State::AtBarrier(call) => Some(call),
            _ => None,
        });
        let calls: Vec<Option<Call>> = calls.collect();
        let Some(first) = calls.iter().flatten().min_by_key(|call| call.line).copied() else { return false };
        let arrived = calls.iter().filter(|call| **call == Some(first)).count();
        if arrived != threads {
            let returned = calls.iter().filter(|call| call.is_none()).count();
            let elsewhere = threads - arrived - returned;
            let message = format!(
                "{arrived} of {threads} threads wait, {returned} returned, {elsewhere} wait at another barrier"
            );
            observer.diverged(Divergence { simdgroup: false, line: first.line, message });
            return false;
        }
        observer.barrier(first.flags);
        for slot in &self.slots[..threads] {
            slot.fiber().state.set(State::Ready);
        }
        true
    }
}
