//! Segments that are proved while the execution is still metered, so that the device need not wait for that.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// The first segments, which are begun as soon as they are known and before anybody knows how many there are. `T` is what is made of one.
///
/// Who makes them asks for the [`next`](Self::next) one. Who has a task to make one asks first whether it [was made](Self::take) so.
pub(super) struct Ahead<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// How many segments are known.
    known: usize,
    /// How many are begun.
    begun: usize,
    /// No other begins.
    is_over: bool,
    /// What was made, or nothing if that failed.
    made: BTreeMap<usize, Option<T>>,
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        let state = State { known: 0, begun: 0, is_over: false, made: BTreeMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> Ahead<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more segment is known. Returns how many are.
    pub(super) fn found(&self) -> usize {
        let mut state = self.lock();
        state.known += 1;
        self.changed.notify_all();
        state.known
    }

    /// No other begins.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// The next one to begin, once it is known: whoever gets it has to [say](Self::put) what came of it. None if it does not `fit`, or when no
    /// other shall begin.
    pub(super) fn next(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut state = self.lock();
        while !state.is_over && state.begun == state.known {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let next = state.begun;
        let begins = !state.is_over && fits(next);
        state.begun += usize::from(begins);
        begins.then_some(next)
    }

    /// What was made of a segment, or nothing if that failed.
    pub(super) fn put(&self, segment: usize, made: Option<T>) {
        self.lock().made.insert(segment, made);
        self.changed.notify_all();
    }

    /// Waits for a segment that was begun, and takes what was made of it, once. None if there is nothing.
    pub(super) fn take(&self, segment: usize) -> Option<T> {
        let mut state = self.lock();
        while segment < state.begun {
            match state.made.get_mut(&segment) {
                Some(made) => return made.take(),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn segments_begin_in_order_when_they_are_known() {
        let ahead = Ahead::default();
        thread::scope(|scope| {
            let makers: Vec<_> = (0..2).map(|_| scope.spawn(|| make(&ahead))).collect();
            assert_eq!([ahead.found(), ahead.found(), ahead.found()], [1, 2, 3]);
            // those that are begun are waited for
            while ahead.lock().begun < 3 {
                thread::yield_now();
            }
            let taken = [2, 0, 1, 3].map(|segment| ahead.take(segment));
            assert_eq!(taken, [Some(20), Some(0), None, None]);
            assert_eq!(ahead.take(2), None, "taken before");
            ahead.end();
            let mut made: Vec<_> = makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect();
            made.sort();
            assert_eq!(made, [0, 1, 2]);
        });
        ahead.found();
        assert_eq!((ahead.next(|_| true), ahead.take(3)), (None, None));
    }

    /// Makes segments, of which the second fails.
    fn make(ahead: &Ahead<usize>) -> Vec<usize> {
        let begin = |segment: usize| ahead.put(segment, (segment != 1).then_some(10 * segment));
        std::iter::from_fn(|| ahead.next(|_| true)).inspect(|segment| begin(*segment)).collect()
    }

    #[test]
    fn what_does_not_fit_is_left_to_others() {
        let ahead = Ahead::default();
        ahead.found();
        assert_eq!(ahead.next(|_| false), None);
        assert_eq!(ahead.next(|segment| segment == 0), Some(0));
        ahead.put(0, Some(7));
        assert_eq!(ahead.take(0), Some(7));
    }
}
