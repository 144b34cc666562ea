//! Who submits jobs, looks at them, and fetches what they made.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use temporalio_client::{
    errors::{WorkflowGetResultError, WorkflowStartError},
    Client as Connected, WorkflowCancelOptions, WorkflowDescribeOptions, WorkflowExecutionStatus,
    WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowQueryOptions, WorkflowStartOptions,
};
use temporalio_common::error::IncomingError;

use super::{
    activities::GUEST_ERROR,
    station::Job,
    workflow::{JobInput, Outcome, Progress, Prove, ProveGroup, JOBS},
    FleetError, Server,
};
use crate::{
    error::with_causes,
    fleet::{
        blobs::{BlobName, Blobs},
        Graph,
    },
};

/// The longest that workers may take to say how far a job is.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The guest failed; its text.
    #[error("the guest failed: {0}")]
    Guest(String),
    /// A task failed wherever it was tried, or the job is none.
    #[error("the job failed: {0}")]
    Failed(String),
    /// Somebody cancelled it.
    #[error("the job was cancelled")]
    Cancelled,
    /// There is no such job.
    #[error("the server knows no job {0}")]
    Unknown(String),
    /// The server could not be asked.
    #[error("the server: {0}")]
    Server(String),
}

/// Whether a job still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It does.
    Running,
    /// Its result is there.
    Done,
    /// It has none, and will have none.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Whether it runs.
    pub state: JobState,
    /// Whether a worker has said how far it is; what follows is 0 without that.
    pub answered: bool,
    /// Tasks, as far as it is known how many.
    pub tasks: usize,
    /// Tasks whose results are there.
    pub done: usize,
    /// Segments whose proofs are.
    pub segments: usize,
    /// Results that were refused, and made again.
    pub refused: usize,
    /// Tasks done, by worker.
    pub workers: BTreeMap<String, usize>,
    /// How long it has run, or ran.
    pub elapsed: Duration,
}

/// A client of a server.
pub struct Client {
    connected: Connected,
    url: String,
}

impl Client {
    /// Connects to a server; asks for ten seconds before it gives up.
    ///
    /// # Errors
    ///
    /// [`FleetError::Server`], [`FleetError::Usage`] for options of TLS.
    pub async fn connect(server: &Server) -> Result<Self, FleetError> {
        let started = std::time::Instant::now();
        loop {
            match server.connect(&format!("client-{}", std::process::id()), false).await {
                Ok(connected) => return Ok(Self { connected, url: server.url.clone() }),
                Err(FleetError::Server { .. }) if started.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> FleetError {
        FleetError::Server { url: self.url.clone(), reason: with_causes(error) }
    }

    fn job(&self, id: &str) -> WorkflowHandle<Connected, Prove> {
        self.connected.get_workflow_handle::<Prove>(id)
    }

    /// Starts the job of a manifest under a name; the same job under the same name goes on if it runs.
    ///
    /// # Errors
    ///
    /// [`FleetError::Server`].
    pub async fn submit(&self, id: &str, manifest: BlobName) -> Result<(), FleetError> {
        let options = WorkflowStartOptions::new(JOBS, id).id_conflict_policy(WorkflowIdConflictPolicy::UseExisting);
        match self.connected.start_workflow(Prove::run, JobInput { manifest }, options.build()).await {
            Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Waits for the result of a job.
    ///
    /// # Errors
    ///
    /// [`JobError`].
    pub async fn wait(&self, id: &str) -> Result<Outcome, JobError> {
        let result = self.job(id).get_result(WorkflowGetResultOptions::default()).await;
        result.map_err(|error| match error {
            WorkflowGetResultError::Failed(cause) => of_failure(&cause),
            WorkflowGetResultError::Cancelled { .. } | WorkflowGetResultError::Terminated { .. } => JobError::Cancelled,
            WorkflowGetResultError::NotFound(_) => JobError::Unknown(id.to_owned()),
            error => JobError::Server(with_causes(&error)),
        })
    }

    /// Asks a job to end; its tasks do within seconds.
    ///
    /// # Errors
    ///
    /// [`FleetError::Server`].
    pub async fn cancel(&self, id: &str) -> Result<(), FleetError> {
        self.job(id).cancel(WorkflowCancelOptions::default()).await.map_err(|error| self.failed(&error))
    }

    /// How far a job is. Workers are asked for that, for five seconds: without any, only the state is known.
    ///
    /// # Errors
    ///
    /// [`FleetError::Server`].
    pub async fn status(&self, id: &str) -> Result<JobStatus, FleetError> {
        let described = self.job(id).describe(WorkflowDescribeOptions::default()).await;
        let described = described.map_err(|error| self.failed(&error))?;
        let state = match described.status() {
            WorkflowExecutionStatus::Completed => JobState::Done,
            WorkflowExecutionStatus::Canceled | WorkflowExecutionStatus::Terminated => JobState::Cancelled,
            WorkflowExecutionStatus::Failed | WorkflowExecutionStatus::TimedOut => JobState::Failed,
            _ => JobState::Running,
        };
        let end = described.close_time().unwrap_or_else(SystemTime::now);
        let elapsed = described.start_time().and_then(|start| end.duration_since(start).ok()).unwrap_or_default();
        let workers = BTreeMap::new();
        let mut status =
            JobStatus { state, answered: false, tasks: 0, done: 0, segments: 0, refused: 0, workers, elapsed };
        // a query waits for a worker for as long as there is none
        if let Ok(Some(progress)) = tokio::time::timeout(ANSWER, self.progress(id)).await {
            status.answered = true;
            progress.iter().for_each(|progress| status.add(progress));
        }
        Ok(status)
    }

    /// What workers say of a job and its groups, those that begin this moment left out.
    async fn progress(&self, id: &str) -> Option<Vec<Progress>> {
        let mut all = vec![self.job(id).query(Prove::progress, (), WorkflowQueryOptions::default()).await.ok()?];
        for group in all[0].groups.clone() {
            let group = self.connected.get_workflow_handle::<ProveGroup>(group);
            all.extend(group.query(ProveGroup::progress, (), WorkflowQueryOptions::default()).await);
        }
        Some(all)
    }

    /// The proofs of a job's segments, in order, where those are its result.
    ///
    /// # Errors
    ///
    /// [`FleetError::Blobs`], [`FleetError::Job`] if it is aggregated.
    pub async fn segments(outcome: &Outcome, blobs: &Blobs) -> Result<Vec<Vec<u8>>, FleetError> {
        let job = outcome.manifest.to_string();
        let wrong = |error: serde_json::Error| FleetError::Job { job, reason: format!("no list of proofs: {error}") };
        let names: Vec<BlobName> = serde_json::from_slice(&blobs.get(outcome.proof).await?).map_err(wrong)?;
        let mut proofs = vec![];
        for name in names {
            proofs.push(blobs.get(name).await?);
        }
        Ok(proofs)
    }

    /// The last segment's result, which has the public values of an aggregated job.
    ///
    /// # Errors
    ///
    /// [`FleetError::Blobs`], [`FleetError::Job`] if it is not there.
    pub async fn last_segment(outcome: &Outcome, blobs: &Blobs) -> Result<Vec<u8>, FleetError> {
        let job = Job::read(outcome.manifest, blobs).await?;
        let wrong = |reason: String| FleetError::Job { job: outcome.manifest.to_string(), reason };
        let graph = Graph::new(&job.plan).map_err(|error| wrong(error.to_string()))?;
        let last = graph.tasks().filter(|task| task.level == 0).last().expect("a plan has segments");
        // the last one that was made is the one that counted
        for round in (0..super::workflow::ROUNDS * 2).rev() {
            if let Some(name) = blobs.noted(&Job::key(&last.id, round, &[])).await? {
                return Ok(blobs.get(name).await?);
            }
        }
        Err(wrong("the last segment's result is not there".into()))
    }
}

impl JobStatus {
    fn add(&mut self, progress: &Progress) {
        self.tasks += progress.tasks;
        self.done += progress.done;
        self.segments += progress.segments;
        self.refused += progress.refused;
        for (worker, tasks) in &progress.workers {
            *self.workers.entry(worker.clone()).or_default() += tasks;
        }
    }
}

/// What lies at the bottom of a failure: what the guest said, or the task's device.
fn of_failure(error: &IncomingError) -> JobError {
    use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
    let mut failure = error.failure();
    while let Some(cause) = &failure.cause {
        failure = cause;
    }
    match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) if info.r#type == GUEST_ERROR => {
            JobError::Guest(failure.message.clone())
        }
        Some(FailureInfo::CanceledFailureInfo(_)) => JobError::Cancelled,
        _ => JobError::Failed(failure.message.clone()),
    }
}
