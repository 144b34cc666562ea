//! The threads of a SIMD group, which meet at SIMD-group functions.

use super::{
    abi::{Exchange, Launch, RunThread, Value, SIMDGROUP},
    fiber::{Call, Fiber, Slot, State},
    order::Turns,
    workgroup::{Divergence, Observer},
};

/// Up to 32 fibers.
pub struct Simdgroup {
    index: u32,
    slots: Vec<Slot>,
    /// Lanes of the running workgroup.
    lanes: usize,
    /// What the lanes have handed in last.
    values: [Value; SIMDGROUP as usize],
    turns: Vec<u32>,
}

impl Simdgroup {
    pub fn new(index: u32) -> Self {
        let slots = (0..SIMDGROUP).map(|lane| Slot::new(SIMDGROUP * index + lane)).collect();
        Self { index, slots, lanes: 0, values: Default::default(), turns: vec![] }
    }

    /// Makes the first `lanes` fibers ready to run their threads.
    ///
    /// # Safety
    ///
    /// `run` may be called with `launch` until the fibers are done or abandoned.
    pub unsafe fn start(&mut self, lanes: usize, run: RunThread, launch: *const Launch) {
        self.lanes = lanes;
        for slot in &mut self.slots[..lanes] {
            // SAFETY: by this function's contract
            unsafe { slot.start(run, launch) };
        }
    }

    pub fn fibers(&self) -> impl Iterator<Item = &Fiber> {
        self.slots[..self.lanes].iter().map(Slot::fiber)
    }

    /// Runs the threads until all of them wait for other SIMD groups or are done, or one has stopped.
    pub fn run(&mut self, order: &mut Turns, observer: &mut dyn Observer) {
        loop {
            order.deal(self.lanes, &mut self.turns);
            for lane in &self.turns {
                let slot = &mut self.slots[*lane as usize];
                if slot.fiber().state.get() == State::Ready {
                    slot.resume();
                }
            }
            if self.has_stopped() || !self.meet(observer) {
                break;
            }
        }
    }

    pub fn has_stopped(&self) -> bool {
        self.fibers().any(|fiber| fiber.state.get() == State::Stopped)
    }

    /// Takes the stacks back.
    pub fn abandon(&mut self) {
        self.slots[..self.lanes].iter_mut().for_each(Slot::abandon);
    }

    /// Lets those threads go on that wait for each other; whether there are any.
    fn meet(&mut self, observer: &mut dyn Observer) -> bool {
        let waiting = self.fibers().filter_map(|fiber| match fiber.state.get() {
            State::AtSimdgroup(call) => Some(call),
            _ => None,
        });
        // threads that left a loop early wait further down for those still inside
        let Some(call) = waiting.min_by_key(|call| call.line) else { return false };
        let active = self.exchange(call);
        if active.count_ones() as usize != self.lanes {
            let message =
                format!("of {} threads of SIMD group {}, those of mask {active:#x} arrive", self.lanes, self.index);
            observer.diverged(Divergence { simdgroup: true, line: call.line, message });
        }
        // no other SIMD-group function orders memory
        if call.flags != 0 {
            observer.simdgroup_barrier(self.index as usize, call.flags);
        }
        true
    }

    /// Gives the lanes that wait at `call` what they handed in, and returns their mask.
    fn exchange(&mut self, call: Call) -> u32 {
        let slots = &self.slots[..self.lanes];
        let arrived = || {
            let fibers = slots.iter().map(Slot::fiber).enumerate();
            fibers.filter(|(_, fiber)| fiber.state.get() == State::AtSimdgroup(call))
        };
        let mut active = 0;
        for (lane, fiber) in arrived() {
            self.values[lane] = fiber.handed_in.get();
            active |= 1 << lane;
        }
        for (lane, fiber) in arrived() {
            fiber.exchange.set(Exchange { values: self.values.as_ptr(), active, lane: lane as u32 });
            fiber.state.set(State::Ready);
        }
        active
    }
}
