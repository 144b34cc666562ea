//! A thread of a workgroup as a fiber: it runs until it waits for others.

use std::{cell::Cell, ops::Range, ptr};

use corosensei::{stack::DefaultStack, stack::Stack, Coroutine, Yielder};

use super::abi::{Exchange, Launch, RunThread, Value};

/// Bytes of a fiber's stack, besides a guard page. The interpreter's registers are the most that a kernel keeps there, 1 KiB.
const STACK_BYTES: usize = 128 << 10;

/// A barrier or SIMD-group function: its line of Metal tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub line: u32,
    /// `mem_flags` of a barrier; 0 for functions that order no memory.
    pub flags: u32,
}

/// What a fiber waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its turn.
    Ready,
    /// The other threads of the workgroup.
    AtBarrier(Call),
    /// The other threads of its SIMD group.
    AtSimdgroup(Call),
    /// Nothing: it returned.
    Done,
    /// Nothing: it did what it must not go on from.
    Stopped,
}

/// The part of a fiber that its thread and the scheduler share.
pub struct Fiber {
    /// Index of the thread in its workgroup.
    pub index: u32,
    pub state: Cell<State>,
    /// What the thread handed to its SIMD group.
    pub handed_in: Cell<Value>,
    /// What it gets in return.
    pub exchange: Cell<Exchange>,
    yielder: Cell<*const Yielder<(), ()>>,
    stack: Range<usize>,
}

thread_local! {
    static CURRENT: Cell<*const Fiber> = const { Cell::new(ptr::null()) };
}

impl Fiber {
    /// Calls `f` with the running fiber.
    pub fn with_current<R>(f: impl FnOnce(&Fiber) -> R) -> R {
        let fiber = CURRENT.get();
        assert!(!fiber.is_null(), "kernels that wait, or are checked, run on fibers");
        // SAFETY: set by `Slot::resume` for as long as this fiber runs
        f(unsafe { &*fiber })
    }

    /// Gives the turn back, until the scheduler resumes this fiber.
    pub fn wait(&self, state: State) {
        self.state.set(state);
        // SAFETY: set by the coroutine that calls this, which lives until its function returns
        unsafe { &*self.yielder.get() }.suspend(());
    }

    /// Whether this is the thread's own memory.
    pub fn owns(&self, address: usize) -> bool {
        self.stack.contains(&address)
    }
}

/// A fiber with its stack, used by one thread after the other.
pub struct Slot {
    /// In a place of its own, which the running thread points to.
    fiber: Box<Fiber>,
    stack: Option<DefaultStack>,
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
}

impl Slot {
    pub fn new(index: u32) -> Self {
        let stack = DefaultStack::new(STACK_BYTES).expect("memory for the stacks of a workgroup's threads");
        let fiber = Fiber {
            index,
            state: Cell::new(State::Done),
            handed_in: Cell::default(),
            exchange: Cell::new(Exchange { values: ptr::null(), active: 0, lane: 0 }),
            yielder: Cell::new(ptr::null()),
            stack: stack.limit().get()..stack.base().get(),
        };
        Self { fiber: Box::new(fiber), stack: Some(stack), coroutine: None }
    }

    pub fn fiber(&self) -> &Fiber {
        &self.fiber
    }

    /// Makes the fiber ready to run this thread of a workgroup.
    ///
    /// # Safety
    ///
    /// `run` may be called with `launch` until the fiber is done or abandoned.
    pub unsafe fn start(&mut self, run: RunThread, launch: *const Launch) {
        self.abandon();
        let fiber: *const Fiber = &*self.fiber;
        let stack = self.stack.take().expect("abandoned");
        self.fiber.state.set(State::Ready);
        self.coroutine = Some(Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: the fiber is in a box of the slot that runs this; the kernel, by this function's contract
            unsafe {
                (*fiber).yielder.set(yielder);
                run(launch, (*fiber).index);
            }
        }));
    }

    /// Runs the fiber until it waits or is done.
    pub fn resume(&mut self) {
        let coroutine = self.coroutine.as_mut().expect("started");
        CURRENT.set(&*self.fiber);
        let returned = coroutine.resume(()).as_return().is_some();
        CURRENT.set(ptr::null());
        if returned {
            self.fiber.state.set(State::Done);
            self.abandon();
        }
    }

    /// Takes the stack back from a fiber wherever it is.
    pub fn abandon(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take() {
            // SAFETY: neither kernels nor the functions that they call here leave anything to drop on the stack
            unsafe { coroutine.force_reset() };
            self.stack = Some(coroutine.into_stack());
        }
    }
}
