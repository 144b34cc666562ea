//! The driver within a process: whoever is free and has the memory takes the next task.

use std::{
    any::Any,
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use super::{
    executor::verify_node,
    job::{Job, JobError, Proved},
    Cancellation, Executor, Plan, Statement, Task, TaskError, TaskKind, TaskResult, Verifier, MOST_BAD_RESULTS,
};

/// Failures in a row after which a device drops out though it does not call itself lost.
const MOST_FAILURES: usize = 3;

/// Runs jobs on devices of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess {
    /// How long a device may have a task until another one that is free takes it, too; the first result counts. `None`: for ever.
    pub patience: Option<Duration>,
}

impl InProcess {
    /// Runs the jobs at the same time, earlier ones first where devices are scarce; aggregation goes before segments. Results count when
    /// `verifier` accepts them and they fit their neighbours.
    ///
    /// Returns when all have ended and nobody is at work any more; with [`InProcess::patience`], whoever is overdue is not waited for.
    pub fn run(
        &self,
        jobs: &[Plan],
        executors: &[Arc<dyn Executor>],
        verifier: &Arc<dyn Verifier>,
    ) -> Vec<Result<Proved, JobError>> {
        let begin = |plan| Job::new(plan).map_or_else(|error| Slot::Ended(Err(error.into())), Slot::Running);
        let workers = executors.iter().map(|executor| Worker::of(&**executor)).collect();
        let table = Table { jobs: jobs.iter().map(begin).collect(), workers };
        let (table, changed) = (Mutex::new(table), Condvar::new());
        let shared = Arc::new(Shared { table, changed, verifier: verifier.clone(), patience: self.patience });
        shared.lock().end_what_is_stuck();
        let threads = executors.iter().enumerate().flat_map(|(worker, executor)| {
            let one = (shared.clone(), executor.clone());
            (0..executor.slots()).map(move |_| {
                let (shared, executor) = one.clone();
                thread::spawn(move || shared.work(worker, &*executor))
            })
        });
        let threads: Vec<_> = threads.collect();
        let ended = shared.wait_for_all();
        if self.patience.is_none() {
            threads.into_iter().for_each(|thread| thread.join().expect("tasks' panics are caught"));
        }
        ended
    }
}

/// What the threads of all devices share.
struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
    verifier: Arc<dyn Verifier>,
    patience: Option<Duration>,
}

struct Table {
    jobs: Vec<Slot>,
    workers: Vec<Worker>,
}

#[allow(clippy::large_enum_variant)] // there are few
enum Slot {
    Running(Job),
    Ended(Result<Proved, JobError>),
}

struct Worker {
    memory: u64,
    bad: usize,
    failures: usize,
    gone: bool,
}

impl Worker {
    fn of(executor: &dyn Executor) -> Self {
        Self { memory: executor.memory(), bad: 0, failures: 0, gone: executor.is_lost() }
    }
}

/// A task with what it takes.
struct Given {
    job: usize,
    task: Task,
    inputs: Vec<TaskResult>,
    statements: Vec<Statement>,
    cancelled: Cancellation,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does tasks until there are no more, or the device has dropped out.
    fn work(&self, worker: usize, executor: &dyn Executor) {
        while let Some(given) = self.next(worker) {
            let run = || executor.run(&given.task, &given.inputs, &given.cancelled);
            let result =
                catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(TaskError::Device(text(&*panic))));
            let result = result.and_then(|result| {
                let verify = || self.verify(&given, &result);
                let statement = catch_unwind(AssertUnwindSafe(verify)).unwrap_or_else(|panic| Err(text(&*panic)));
                statement.map(|statement| (result, statement)).map_err(TaskError::Rejected)
            });
            let mut table = self.lock();
            table.settle(worker, given, result, executor.is_lost());
            table.end_what_is_stuck();
            drop(table);
            self.changed.notify_all();
        }
    }

    fn verify(&self, given: &Given, result: &[u8]) -> Result<Statement, String> {
        match given.task.kind {
            TaskKind::Segment => self.verifier.verify(&given.task, result),
            _ => verify_node(&*self.verifier, &given.task, &given.statements, result),
        }
    }

    /// The next task for a worker; waits for one. `None` once there will be none.
    fn next(&self, worker: usize) -> Option<Given> {
        let mut table = self.lock();
        loop {
            if table.workers[worker].gone || table.all_ended() {
                return None;
            }
            if let Some(given) = table.take(worker, self.patience) {
                return Some(given);
            }
            table = match self.patience {
                None => self.changed.wait(table).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(table, patience / 2);
                    waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
            };
        }
    }

    fn wait_for_all(&self) -> Vec<Result<Proved, JobError>> {
        let mut table = self.lock();
        while !table.all_ended() {
            table = self.changed.wait(table).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        self.changed.notify_all();
        let outcome = |slot: &Slot| match slot {
            Slot::Ended(outcome) => outcome.clone(),
            Slot::Running(_) => unreachable!("all have ended"),
        };
        table.jobs.iter().map(outcome).collect()
    }
}

impl Table {
    fn all_ended(&self) -> bool {
        self.jobs.iter().all(|job| matches!(job, Slot::Ended(_)))
    }

    fn take(&mut self, worker: usize, patience: Option<Duration>) -> Option<Given> {
        let memory = self.workers[worker].memory;
        let running = self.jobs.iter_mut().enumerate().filter_map(|(number, slot)| match slot {
            Slot::Running(job) => Some((number, job)),
            Slot::Ended(_) => None,
        });
        for (number, job) in running {
            if let Some(task) = job.take(memory, patience) {
                let (inputs, statements) = job.inputs(&task);
                return Some(Given { job: number, inputs, statements, cancelled: job.cancelled.clone(), task });
            }
        }
        None
    }

    /// Takes note of what became of a task.
    fn settle(
        &mut self,
        worker: usize,
        given: Given,
        result: Result<(TaskResult, Statement), TaskError>,
        is_lost: bool,
    ) {
        let from = &mut self.workers[worker];
        from.gone |= is_lost;
        match &result {
            Ok(_) => from.failures = 0,
            Err(TaskError::Device(_)) => from.failures += 1,
            Err(_) => (),
        }
        from.gone |= from.failures >= MOST_FAILURES;
        // what comes late is of no interest to a job that has ended
        let slot = &mut self.jobs[given.job];
        let Slot::Running(job) = slot else { return };
        let task = given.task;
        job.ended(&task);
        let mut bad = vec![];
        match result {
            Ok((result, statement)) => bad = job.verified(task, result, statement, worker),
            Err(TaskError::Rejected(reason)) => {
                job.failed(&task, reason);
                bad.push(worker);
            }
            Err(TaskError::Device(reason)) => job.failed(&task, reason),
            Err(TaskError::Cancelled) => job.failed(&task, TaskError::Cancelled.to_string()),
            Err(error @ TaskError::Input { input, .. }) => {
                job.failed(&task, error.to_string());
                job.revoke(&task, input);
            }
            Err(TaskError::Guest(text)) => {
                job.cancelled.cancel();
                *slot = Slot::Ended(Err(JobError::Guest(text)));
                return;
            }
        }
        job.rejected += bad.len();
        if let Some(proved) = job.proved() {
            job.cancelled.cancel();
            *slot = Slot::Ended(Ok(proved));
        }
        for worker in bad {
            let from = &mut self.workers[worker];
            from.bad += 1;
            from.gone |= from.bad >= MOST_BAD_RESULTS;
        }
    }

    /// Ends jobs that nobody who is left can go on with.
    fn end_what_is_stuck(&mut self) {
        let memory = self.workers.iter().filter(|worker| !worker.gone).map(|worker| worker.memory).max();
        for slot in &mut self.jobs {
            if let Slot::Running(job) = slot {
                if job.is_stuck(memory) {
                    *slot = Slot::Ended(Err(JobError::NoDevice(job.last_failure.clone())));
                }
            }
        }
    }
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::conformance::{self, Driver};

    impl Driver for InProcess {
        fn run(
            &self,
            jobs: &[Plan],
            executors: &[Arc<dyn Executor>],
            verifier: &Arc<dyn Verifier>,
        ) -> Vec<Result<Proved, JobError>> {
            InProcess::run(self, jobs, executors, verifier)
        }
    }

    #[test]
    fn twenty_thousand_tasks_each_once() {
        conformance::each_task_once(&InProcess::default(), 15_000, 64);
    }

    #[test]
    fn nothing_begins_where_it_does_not_fit() {
        conformance::mixed_budgets(&InProcess::default());
    }

    #[test]
    fn a_lost_device_drops_out() {
        conformance::lost_device(&InProcess::default());
    }

    #[test]
    fn bad_results_never_count() {
        conformance::bad_results(&InProcess::default(), 200);
    }

    #[test]
    fn a_guest_that_traps_ends_its_own_job() {
        conformance::guest_that_traps(&InProcess::default());
    }

    #[test]
    fn a_late_result_is_ignored() {
        conformance::frozen_worker(&InProcess { patience: Some(Duration::from_millis(300)) });
    }

    #[test]
    fn without_devices_a_job_ends() {
        conformance::no_device(&InProcess::default());
    }
}
