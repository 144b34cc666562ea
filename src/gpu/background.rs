//! Kernels that are compiled beside the proofs: how many are left, and until when it may last.

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How often who waits says so in the log.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Counts jobs that run in the background.
#[derive(Default)]
pub(crate) struct Background {
    jobs: Mutex<JobCounts>,
    idle: Condvar,
}

#[derive(Default)]
struct JobCounts {
    progress: KernelProgress,
    /// When the first of those began that are not all done.
    since: Option<Instant>,
}

/// Generated kernels of a device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelProgress {
    /// Those that wait for their compilation, or are being compiled.
    pub pending: usize,
    /// Those whose compilation has ended.
    pub done: usize,
    /// Those of `done` that were left out, because time was up, their key was dropped, or the compiler refused them: the interpreter
    /// evaluates their constraints.
    pub left_out: usize,
    /// How long the pending ones have been at it.
    pub elapsed: Duration,
}

impl Background {
    /// A job was queued.
    pub(crate) fn begin(&self) {
        let mut jobs = self.lock();
        jobs.progress.pending += 1;
        jobs.since.get_or_insert_with(Instant::now);
    }

    /// A job has ended, done or left out; whether it was the last one.
    pub(crate) fn end(&self, left_out: bool) -> bool {
        let mut jobs = self.lock();
        jobs.progress.pending -= 1;
        jobs.progress.done += 1;
        jobs.progress.left_out += usize::from(left_out);
        if jobs.progress.pending == 0 {
            jobs.since = None;
            self.idle.notify_all();
        }
        jobs.progress.pending == 0
    }

    /// Where things stand.
    pub(crate) fn progress(&self) -> KernelProgress {
        let jobs = self.lock();
        KernelProgress { elapsed: jobs.since.map_or(Duration::ZERO, |since| since.elapsed()), ..jobs.progress }
    }

    /// Waits until no job is left.
    pub(crate) fn wait(&self) {
        let mut jobs = self.lock();
        while jobs.progress.pending > 0 {
            let (guard, timeout) =
                self.idle.wait_timeout(jobs, REPORT_EVERY).unwrap_or_else(|poisoned| poisoned.into_inner());
            jobs = guard;
            if timeout.timed_out() && jobs.progress.pending > 0 {
                let KernelProgress { pending, done, left_out, .. } = jobs.progress;
                tracing::info!(pending, done, left_out, "waiting for kernels that are being compiled");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, JobCounts> {
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
        assert!(!background.end(false));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| background.wait());
            assert!(background.end(true));
            waiter.join().expect("no panic");
        });
        let progress = KernelProgress { done: 2, left_out: 1, ..KernelProgress::default() };
        assert_eq!(background.progress(), progress);
    }

    #[test]
    fn time_counts_while_something_is_pending() {
        let background = Background::default();
        background.begin();
        std::thread::sleep(Duration::from_millis(2));
        assert!(background.progress().elapsed >= Duration::from_millis(2));
        background.end(false);
        assert_eq!(background.progress().elapsed, Duration::ZERO);
    }
}
