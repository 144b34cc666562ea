//! Work beside the proofs: how much of it is left.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Counts jobs that run in the background.
#[derive(Default)]
pub(crate) struct Background {
    jobs: Mutex<usize>,
    idle: Condvar,
}

impl Background {
    /// A job was queued.
    pub(crate) fn begin(&self) {
        *self.lock() += 1;
    }

    /// A job has ended; whether it was the last one.
    pub(crate) fn end(&self) -> bool {
        let mut jobs = self.lock();
        *jobs -= 1;
        if *jobs == 0 {
            self.idle.notify_all();
        }
        *jobs == 0
    }

    /// Waits until no job is left.
    pub(crate) fn wait(&self) {
        let mut jobs = self.lock();
        while *jobs > 0 {
            jobs = self.idle.wait(jobs).unwrap_or_else(|p| p.into_inner());
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.jobs.lock().unwrap_or_else(|p| p.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_last_job() {
        let background = Background::default();
        background.wait();
        background.begin();
        background.begin();
        assert!(!background.end());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| background.wait());
            assert!(background.end());
            waiter.join().expect("no panic");
        });
    }
}
