//! The driver within a process: whoever is free and has the memory takes the next task.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use super::{
    executor::verify_node,
    job::{Job, JobError, Proved},
    Cancellation, Executor, Plan, Statement, Task, TaskError, TaskKind, Verifier, MOST_BAD_RESULTS,
};
use crate::error::caught;

/// Runs jobs on devices of this process.
#[derive(Clone, Copy, Debug)]
pub struct InProcess {
    /// How long a device may have a task until another one that is free takes it, too; the first result counts. `None`: for ever.
    pub patience: Option<Duration>,
    /// Failures in a row after which a device drops out though it does not call itself lost.
    pub most_failures: usize,
}

impl Default for InProcess {
    fn default() -> Self {
        Self { patience: None, most_failures: 3 }
    }
}

impl InProcess {
    /// Runs the jobs at the same time, earlier ones first where devices are scarce; aggregation goes before segments. Results count when
    /// `verifier` accepts them and they fit their neighbours.
    ///
    /// Returns when all have ended and nobody is at work any more; with [`InProcess::patience`], whoever is overdue is not waited for.
    pub fn run<R: Clone + Send + 'static>(
        &self,
        jobs: &[Plan],
        executors: &[Arc<dyn Executor<R>>],
        verifier: &Arc<dyn Verifier<R>>,
    ) -> Vec<Result<Proved<R>, JobError>> {
        let table = Table::new(jobs, executors.iter().map(|executor| &**executor));
        let shared = Arc::new(Shared::new(*self, table));
        let threads = in_turn(executors.iter().map(|executor| executor.slots())).map(|(worker, slot)| {
            let (shared, executor, verifier) = (shared.clone(), executors[worker].clone(), verifier.clone());
            thread::spawn(move || shared.work((worker, slot), &*executor, &*verifier))
        });
        let threads: Vec<_> = threads.collect();
        let ended = shared.wait_for_all();
        if self.patience.is_none() {
            threads.into_iter().for_each(|thread| thread.join().expect("tasks' panics are caught"));
        }
        ended
    }

    /// As [`InProcess::run`], on executors that somebody else owns; everybody is waited for.
    pub fn run_scoped<R: Clone + Send>(
        &self,
        jobs: &[Plan],
        executors: &[&dyn Executor<R>],
        verifier: &dyn Verifier<R>,
    ) -> Vec<Result<Proved<R>, JobError>> {
        let shared = Shared::new(*self, Table::new(jobs, executors.iter().copied()));
        thread::scope(|scope| {
            for (worker, slot) in in_turn(executors.iter().map(|executor| executor.slots())) {
                let (shared, executor) = (&shared, executors[worker]);
                scope.spawn(move || shared.work((worker, slot), executor, verifier));
            }
            shared.wait_for_all()
        })
    }
}

/// The slots of all executors, which have so many each: the first of each, the second of each, .., so that all begin alike.
fn in_turn(slots: impl Iterator<Item = usize>) -> impl Iterator<Item = (usize, usize)> {
    let slots = slots.enumerate().flat_map(|(worker, slots)| (0..slots).map(move |slot| (slot, worker)));
    let mut slots: Vec<_> = slots.collect();
    slots.sort();
    slots.into_iter().map(|(slot, worker)| (worker, slot))
}

/// What the threads of all devices share.
struct Shared<R> {
    table: Mutex<Table<R>>,
    changed: Condvar,
    driver: InProcess,
}

struct Table<R> {
    jobs: Vec<Slot<R>>,
    workers: Vec<Worker>,
}

#[allow(clippy::large_enum_variant)] // there are few
enum Slot<R> {
    Running(Job<R>),
    Ended(Result<Proved<R>, JobError>),
}

struct Worker {
    memory: u64,
    /// What any of its slots takes: segments, other tasks.
    kinds: [bool; 2],
    bad: usize,
    failures: usize,
    gone: bool,
}

impl Worker {
    fn of<R>(executor: &dyn Executor<R>) -> Self {
        let takes = |kind| (0..executor.slots()).any(|slot| executor.takes(slot, kind));
        let kinds = [takes(TaskKind::Segment), takes(TaskKind::Leaf)];
        Self { memory: executor.memory(), kinds, bad: 0, failures: 0, gone: executor.is_lost() }
    }

    fn takes(&self, task: &Task) -> bool {
        !self.gone && task.device_bytes <= self.memory && self.kinds[usize::from(task.kind != TaskKind::Segment)]
    }
}

/// A task with what it takes.
struct Given<R> {
    job: usize,
    task: Task,
    inputs: Vec<R>,
    statements: Vec<Statement>,
    cancelled: Cancellation,
}

impl<R: Clone> Shared<R> {
    fn new(driver: InProcess, mut table: Table<R>) -> Self {
        table.end_what_is_stuck();
        Self { table: Mutex::new(table), changed: Condvar::new(), driver }
    }

    fn lock(&self) -> MutexGuard<'_, Table<R>> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does tasks of a worker's slot until there are no more, or the device has dropped out.
    fn work(&self, (worker, slot): (usize, usize), executor: &dyn Executor<R>, verifier: &dyn Verifier<R>) {
        while let Some(given) = self.next(worker, &|kind| executor.takes(slot, kind)) {
            let result = caught(|| executor.run(&given.task, &given.inputs, &given.cancelled));
            let result = result.unwrap_or_else(|panic| Err(TaskError::Device(panic))).and_then(|result| {
                let statement = caught(|| given.verify(verifier, &result)).unwrap_or_else(Err);
                statement.map(|statement| (result, statement)).map_err(TaskError::Rejected)
            });
            let mut table = self.lock();
            table.settle((worker, executor.is_lost()), given, result, self.driver.most_failures);
            table.end_what_is_stuck();
            drop(table);
            self.changed.notify_all();
        }
    }

    /// The next task for a slot of a worker, of the kinds that are `wanted`; waits for one. `None` once there will be none.
    fn next(&self, worker: usize, wanted: &dyn Fn(TaskKind) -> bool) -> Option<Given<R>> {
        let mut table = self.lock();
        loop {
            if table.workers[worker].gone || table.all_ended() {
                return None;
            }
            if let Some(given) = table.take(worker, self.driver.patience, wanted) {
                return Some(given);
            }
            table = match self.driver.patience {
                None => self.changed.wait(table).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(table, patience / 2);
                    waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
            };
        }
    }

    fn wait_for_all(&self) -> Vec<Result<Proved<R>, JobError>> {
        let mut table = self.lock();
        while !table.all_ended() {
            table = self.changed.wait(table).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        self.changed.notify_all();
        let outcome = |slot: &Slot<R>| match slot {
            Slot::Ended(outcome) => outcome.clone(),
            Slot::Running(_) => unreachable!("all have ended"),
        };
        table.jobs.iter().map(outcome).collect()
    }
}

impl<R> Given<R> {
    fn verify(&self, verifier: &dyn Verifier<R>, result: &R) -> Result<Statement, String> {
        match self.task.kind {
            TaskKind::Segment => verifier.verify(&self.task, result),
            _ => verify_node(verifier, &self.task, &self.statements, result),
        }
    }
}

impl<R: Clone> Table<R> {
    fn new<'a>(jobs: &[Plan], executors: impl Iterator<Item = &'a dyn Executor<R>>) -> Self
    where
        R: 'a,
    {
        let begin = |plan| Job::new(plan).map_or_else(|error| Slot::Ended(Err(error.into())), Slot::Running);
        Self { jobs: jobs.iter().map(begin).collect(), workers: executors.map(Worker::of).collect() }
    }

    fn all_ended(&self) -> bool {
        self.jobs.iter().all(|job| matches!(job, Slot::Ended(_)))
    }

    fn take(
        &mut self,
        worker: usize,
        patience: Option<Duration>,
        wanted: &dyn Fn(TaskKind) -> bool,
    ) -> Option<Given<R>> {
        let memory = self.workers[worker].memory;
        let running = self.jobs.iter_mut().enumerate().filter_map(|(number, slot)| match slot {
            Slot::Running(job) => Some((number, job)),
            Slot::Ended(_) => None,
        });
        for (number, job) in running {
            if let Some(task) = job.take(memory, patience, wanted) {
                let (inputs, statements) = job.inputs(&task);
                return Some(Given { job: number, inputs, statements, cancelled: job.cancelled.clone(), task });
            }
        }
        None
    }

    /// Takes note of what became of a task.
    fn settle(
        &mut self,
        (worker, is_lost): (usize, bool),
        given: Given<R>,
        result: Result<(R, Statement), TaskError>,
        most_failures: usize,
    ) {
        let from = &mut self.workers[worker];
        from.gone |= is_lost;
        match &result {
            Ok(_) => from.failures = 0,
            Err(TaskError::Device(_)) => from.failures += 1,
            Err(_) => (),
        }
        from.gone |= from.failures >= most_failures;
        // what comes late is of no interest to a job that has ended
        let slot = &mut self.jobs[given.job];
        let Slot::Running(job) = slot else { return };
        if is_lost {
            job.last_failure = "a device is lost, and no other has the memory".into();
        }
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
            // told so since nobody is left to go on
            Err(TaskError::Cancelled) if job.cancelled.is_cancelled() => job.failed(&task, job.last_failure.clone()),
            // nobody else begins, and whoever is at work may finish
            Err(TaskError::Cancelled) => {
                *slot = Slot::Ended(Err(JobError::Cancelled));
                return;
            }
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
        let workers = &self.workers;
        for slot in &mut self.jobs {
            if let Slot::Running(job) = slot {
                if workers.iter().all(|worker| worker.gone) {
                    job.cancelled.cancel();
                }
                if job.is_stuck(|task| workers.iter().any(|worker| worker.takes(task))) {
                    *slot = Slot::Ended(Err(JobError::NoDevice(job.last_failure.clone())));
                }
            }
        }
    }
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
        conformance::frozen_worker(&InProcess { patience: Some(Duration::from_millis(300)), ..InProcess::default() });
    }

    #[test]
    fn without_devices_a_job_ends() {
        conformance::no_device(&InProcess::default());
    }
}
