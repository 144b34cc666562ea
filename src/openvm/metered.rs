//! An execution's segments, while they are being found.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openvm_circuit::arch::execution_mode::metered::segment_ctx::Segment;

/// The segments that are known.
#[derive(Default)]
pub(super) struct Metered {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    segments: Vec<Arc<Segment>>,
    is_over: bool,
}

impl Metered {
    /// Another one, behind the others.
    pub(super) fn push(&self, segment: Segment) {
        self.lock().segments.push(Arc::new(segment));
        self.changed.notify_all();
    }

    /// No other is found.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Those that are known.
    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        self.lock().segments.clone()
    }

    /// The first one, if it is known; else whether it may still be found.
    pub(super) fn first(&self) -> Result<Arc<Segment>, bool> {
        let state = self.lock();
        state.segments.first().cloned().ok_or(!state.is_over)
    }

    /// Waits for the first one; there is none if nothing could be executed.
    pub(super) fn wait_for_first(&self) -> Option<Arc<Segment>> {
        let mut state = self.lock();
        while state.segments.is_empty() && !state.is_over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.segments.first().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
