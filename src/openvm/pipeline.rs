//! Work on several threads that keeps step with others that prepare it.

use std::{
    mem::forget,
    panic::resume_unwind,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{sync_channel, Receiver, SyncSender},
        Arc, Mutex,
    },
    thread::{self, ScopedJoinHandle},
};

/// How many threads prepare jobs, and how many do them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threads {
    pub lanes: usize,
    pub workers: usize,
}

/// Where a lane puts its jobs.
pub(super) struct Queue<'a, J> {
    sender: SyncSender<(usize, J)>,
    failed: &'a AtomicBool,
}

impl<J> Queue<'_, J> {
    /// Hands job number `index` on as soon as a worker is free; drops it if something has failed.
    pub(super) fn push(&self, index: usize, job: J) {
        // sending fails when all workers have ended, which they do early only if something has failed
        let _ = self.sender.send((index, job));
    }

    /// Whether something has failed, so that more jobs are of no use.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Has each lane `prepare` jobs, which get numbers, and does the `work`; returns what the lanes return and the results of the jobs in order.
///
/// No lane is more than one job ahead of the workers. The first failure ends it; work that is under way is finished.
///
/// # Errors
///
/// An error of the workers, else one of the lanes.
pub(super) fn pipeline<J: Send, T: Send, R: Send, E: Send>(
    threads: Threads,
    prepare: impl Fn(usize, Queue<J>) -> Result<T, E> + Sync,
    work: impl Fn(J) -> Result<R, E> + Sync,
) -> Result<(Vec<T>, Vec<R>), E> {
    let (sender, receiver) = sync_channel(0);
    let receiver = Arc::new(Mutex::new(receiver));
    let failed = AtomicBool::new(false);
    let (prepare, work, failed) = (&prepare, &work, &failed);
    let (ends, results) = thread::scope(|scope| {
        let workers = (0..threads.workers).map(|_| {
            let receiver = receiver.clone();
            scope.spawn(move || ending_others(failed, || do_jobs(receiver, failed, work)))
        });
        let workers: Vec<_> = workers.collect();
        let lanes = (0..threads.lanes).map(|lane| {
            let queue = Queue { sender: sender.clone(), failed };
            scope.spawn(move || ending_others(failed, || prepare(lane, queue)))
        });
        let lanes: Vec<_> = lanes.collect();
        // only the threads keep them, so that each side notices when the other has ended
        drop((sender, receiver));
        let results = join(workers);
        let ends = join(lanes);
        results.and_then(|results| Ok((ends?, results)))
    })?;
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    Ok((ends, results.into_iter().map(|(_, result)| result).collect()))
}

/// Does jobs until there are no more, or something has failed.
fn do_jobs<J, R, E>(
    queue: Arc<Mutex<Receiver<(usize, J)>>>,
    failed: &AtomicBool,
    work: &impl Fn(J) -> Result<R, E>,
) -> Result<Vec<(usize, R)>, E> {
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv().ok();
    let mut results = vec![];
    while let Some((index, job)) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
        results.push((index, work(job)?));
    }
    Ok(results)
}

/// Tells the others when `work` fails or panics.
fn ending_others<T, E>(failed: &AtomicBool, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    struct Tell<'a>(&'a AtomicBool);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let tell = Tell(failed);
    let result = work()?;
    forget(tell);
    Ok(result)
}

/// Waits for all threads, whatever becomes of them.
fn join<T, E>(threads: Vec<ScopedJoinHandle<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    ends.into_iter().map(|end| end.unwrap_or_else(|panic| resume_unwind(panic))).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use super::*;

    /// Lanes that take turns at `jobs` jobs, which are their own numbers, and return how many they made.
    fn take_turns(lanes: usize, jobs: usize) -> impl Fn(usize, Queue<usize>) -> Result<usize, &'static str> + Sync {
        move |lane, queue| {
            let own = (lane..jobs).step_by(lanes).take_while(|_| !queue.has_failed());
            Ok(own.inspect(|job| queue.push(*job, *job)).count())
        }
    }

    #[test]
    fn results_come_in_order() {
        for (lanes, workers) in [(1, 1), (1, 2), (3, 1), (3, 2), (2, 5)] {
            for jobs in [0, 1, 7] {
                // later jobs are faster
                let work = |i: usize| {
                    thread::sleep(Duration::from_millis((jobs - i) as u64));
                    Ok(i * i)
                };
                let (made, squares) =
                    pipeline(Threads { lanes, workers }, take_turns(lanes, jobs), work).expect("nothing fails");
                assert_eq!(squares, (0..jobs).map(|i| i * i).collect::<Vec<_>>());
                assert_eq!(made.len(), lanes);
                assert_eq!(made.iter().sum::<usize>(), jobs);
            }
        }
    }

    #[test]
    fn the_first_failure_ends_the_jobs() {
        for (lanes, workers) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            let begun = AtomicUsize::new(0);
            let work = |i| {
                begun.fetch_add(1, Ordering::Relaxed);
                if i == 3 {
                    Err("work")
                } else {
                    Ok(i)
                }
            };
            assert_eq!(pipeline(Threads { lanes, workers }, take_turns(lanes, 1000), work), Err("work"));
            assert!(begun.into_inner() < 1000);
        }
    }

    #[test]
    fn a_lane_that_fails_ends_it() {
        let done = AtomicUsize::new(0);
        let prepare = |lane, queue: Queue<usize>| {
            for job in 0..if lane == 0 { 4 } else { 1000 } {
                queue.push(job, job);
            }
            if lane == 0 {
                Err("lane")
            } else {
                Ok(())
            }
        };
        let work = |_| {
            thread::sleep(Duration::from_millis(1));
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(pipeline(Threads { lanes: 2, workers: 1 }, prepare, work), Err("lane"));
        // the last one that it handed on may have been dropped
        assert!((3..1000).contains(&done.into_inner()));
    }

    #[test]
    #[should_panic(expected = "worker")]
    fn a_panic_of_the_last_worker_ends_it() {
        let work = |_| -> Result<(), _> { panic!("worker") };
        let _ = pipeline(Threads { lanes: 2, workers: 1 }, take_turns(2, 10), work);
    }

    #[test]
    #[should_panic(expected = "lane")]
    fn a_panic_of_a_lane_ends_it() {
        let prepare = |lane, queue: Queue<usize>| -> Result<(), ()> {
            assert!(lane != 1, "lane");
            while !queue.has_failed() {
                queue.push(0, 0);
            }
            Ok(())
        };
        let _ = pipeline(Threads { lanes: 2, workers: 1 }, prepare, Ok);
    }
}
