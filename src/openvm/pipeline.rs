//! Work on several threads that keeps step with one that prepares it.

use std::{
    panic::resume_unwind,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{sync_channel, Receiver},
        Arc, Mutex,
    },
    thread,
};

/// Does `work` on what `jobs` yields, on `workers` threads, and returns the results in order.
///
/// `jobs` runs on the calling thread and is at most one job ahead of the workers. The first error ends it; work that is under way is finished.
///
/// # Errors
///
/// An error of the workers, else the one of `jobs`.
pub fn pipeline<J: Send, R: Send, E: Send>(
    workers: usize,
    jobs: impl Iterator<Item = Result<J, E>>,
    work: impl Fn(J) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (sender, receiver) = sync_channel(0);
    let receiver = Arc::new(Mutex::new(receiver));
    let failed = AtomicBool::new(false);
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let (receiver, failed, work) = (receiver.clone(), &failed, &work);
                scope.spawn(move || do_jobs(receiver, failed, work))
            })
            .collect();
        // only the workers keep it, so that sending fails when all of them have ended
        drop(receiver);
        let sent = jobs.enumerate().try_for_each(|(index, job)| match job {
            Ok(job) => sender.send((index, job)).map_err(|_| None),
            Err(error) => Err(Some(error)),
        });
        drop(sender);
        let mut results = vec![];
        for thread in threads {
            results.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        match sent {
            Err(Some(error)) => Err(error),
            _ => Ok(results),
        }
    })?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Takes jobs until there are no more, or one has failed.
fn do_jobs<J, R, E>(
    queue: Arc<Mutex<Receiver<(usize, J)>>>,
    failed: &AtomicBool,
    work: &impl Fn(J) -> Result<R, E>,
) -> Result<Vec<(usize, R)>, E> {
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv().ok();
    let mut results = vec![];
    while let Some((index, job)) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
        results.push((index, work(job).inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn results_come_in_order() {
        for workers in [1, 2, 5] {
            for jobs in [0, 1, 7] {
                // later jobs are faster
                let work = |i: u64| {
                    thread::sleep(std::time::Duration::from_millis(jobs - i));
                    Ok::<_, ()>(i * i)
                };
                let squares: Vec<u64> = (0..jobs).map(|i| i * i).collect();
                assert_eq!(pipeline(workers, (0..jobs).map(Ok), work), Ok(squares));
            }
        }
    }

    #[test]
    fn the_first_failure_ends_the_jobs() {
        for workers in [1, 3] {
            let begun = AtomicUsize::new(0);
            let jobs = (0..1000).inspect(|_| {
                begun.fetch_add(1, Ordering::Relaxed);
            });
            let work = |i| if i == 3 { Err("work") } else { Ok(i) };
            assert_eq!(pipeline(workers, jobs.map(Ok), work), Err("work"));
            assert!(begun.load(Ordering::Relaxed) < 1000);
        }
    }

    #[test]
    fn jobs_that_cannot_be_made_end_it() {
        let done = AtomicUsize::new(0);
        let jobs = (0..10).map(|i| if i == 4 { Err("job") } else { Ok(i) });
        let work = |_| {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(pipeline(2, jobs, work), Err("job"));
        assert_eq!(done.load(Ordering::Relaxed), 4);
    }

    #[test]
    #[should_panic(expected = "worker")]
    fn a_panic_of_the_last_worker_ends_it() {
        let _ = pipeline(1, (0..10).map(Ok::<_, ()>), |_| -> Result<(), ()> { panic!("worker") });
    }
}
