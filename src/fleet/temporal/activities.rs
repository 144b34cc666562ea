//! The activities: how a task comes from the server, and how its result or its failure goes back.

use std::{sync::Arc, time::Duration};

use temporalio_common::error::ApplicationFailure;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::sync::{Notify, Semaphore};

use super::{
    groups::{Item, Outline},
    station::{Station, WorkError},
    workflow::{Done, GroupInput, JobInput, TaskInput},
    FleetError,
};
use crate::fleet::{
    blobs::{BlobError, BlobName},
    Cancellation, TaskError,
};

/// What the type of a failure begins with that is a child's.
pub(super) const INPUT_ERROR: &str = "input/";
/// And of one that is a child's or that of the one before it.
pub(super) const APART_ERROR: &str = "apart/";
/// The type of a failure that is the guest's own.
pub(super) const GUEST_ERROR: &str = "guest";

/// How often a worker whose result was refused leaves the task to others, before it tries once more.
const LEFT_TO_OTHERS: u32 = 20;

/// The activities of one device.
#[derive(Clone)]
pub struct Activities {
    pub(super) station: Arc<Station>,
    /// One task at a time, whatever queue it comes from.
    pub(super) device: Arc<Semaphore>,
    /// Wakes whoever stops the worker.
    pub(super) out: Arc<Notify>,
}

fn failure(kind: &str, reason: String) -> ActivityError {
    ApplicationFailure::builder(reason).type_name(kind.into()).build().into()
}

fn last(kind: &str, reason: String) -> ActivityError {
    ApplicationFailure::builder(reason).type_name(kind.into()).non_retryable(true).build().into()
}

fn of_fleet(error: FleetError) -> ActivityError {
    match error {
        // files of a job that nobody can make again
        FleetError::Blobs(error @ (BlobError::Missing(_) | BlobError::Damaged(_))) => last("job", error.to_string()),
        error @ FleetError::Job { .. } => last("job", error.to_string()),
        error => failure("store", error.to_string()),
    }
}

fn of_work(error: WorkError) -> ActivityError {
    match error {
        WorkError::Task(TaskError::Guest(reason)) => last(GUEST_ERROR, reason),
        WorkError::Task(TaskError::Device(reason)) => failure("device", reason),
        WorkError::Task(TaskError::Rejected(reason)) => failure("rejected", reason),
        WorkError::Task(TaskError::Input { input, reason }) => last(&format!("{INPUT_ERROR}{input}"), reason),
        WorkError::Task(TaskError::Cancelled) => ActivityError::cancelled(),
        WorkError::Apart(at) => last(&format!("{APART_ERROR}{at}"), error.to_string()),
    }
}

#[activities]
impl Activities {
    /// The top of a job.
    #[activity]
    pub async fn outline(self: Arc<Self>, _ctx: ActivityContext, job: JobInput) -> Result<Outline, ActivityError> {
        let planned = self.station.planned(job.manifest).await.map_err(of_fleet)?;
        Ok(planned.groups.outline())
    }

    /// The tasks of a group.
    #[activity]
    pub async fn group(self: Arc<Self>, _ctx: ActivityContext, group: GroupInput) -> Result<Vec<Item>, ActivityError> {
        let planned = self.station.planned(group.manifest).await.map_err(of_fleet)?;
        let items = planned.groups.groups.get(group.group).cloned();
        items.ok_or_else(|| last("job", format!("the plan has no group {}", group.group)))
    }

    /// Names of proofs, as a blob.
    #[activity]
    pub async fn list(self: Arc<Self>, _ctx: ActivityContext, proofs: Vec<BlobName>) -> Result<Done, ActivityError> {
        let bytes = serde_json::to_vec(&proofs).expect("names are plain data");
        let proof = self.station.blobs.put(bytes).await.map_err(|error| of_fleet(error.into()))?;
        Ok(Done { proof, worker: self.station.name.clone() })
    }

    /// Several such lists as one.
    #[activity]
    pub async fn join(self: Arc<Self>, _ctx: ActivityContext, lists: Vec<BlobName>) -> Result<Done, ActivityError> {
        let mut proofs: Vec<BlobName> = vec![];
        for list in lists {
            let bytes = self.station.blobs.get(list).await.map_err(|error| of_fleet(error.into()))?;
            let names: Vec<BlobName> =
                serde_json::from_slice(&bytes).map_err(|error| last("job", format!("{list} is no list: {error}")))?;
            proofs.extend(names);
        }
        let bytes = serde_json::to_vec(&proofs).expect("names are plain data");
        let proof = self.station.blobs.put(bytes).await.map_err(|error| of_fleet(error.into()))?;
        Ok(Done { proof, worker: self.station.name.clone() })
    }

    /// A task.
    #[activity]
    pub async fn prove(self: Arc<Self>, ctx: ActivityContext, input: TaskInput) -> Result<Done, ActivityError> {
        if let Some(reason) = self.station.is_out() {
            return Err(failure("out", reason));
        }
        if input.refused.contains(&self.station.name) && ctx.info().attempt <= LEFT_TO_OTHERS {
            let reason = format!("a result of {} was refused, so that others are asked first", self.station.name);
            let later = ApplicationFailure::builder(reason).type_name("refused".into());
            return Err(later.next_retry_delay(Duration::from_millis(200)).build().into());
        }
        let (cancellation, station, device) = (Cancellation::default(), self.station.clone(), self.device.clone());
        let cancelled = cancellation.clone();
        let mut work = tokio::spawn(async move {
            // tasks of another class of memory may be under way
            let _alone = device.acquire_owned().await;
            tokio::task::spawn_blocking(move || station.work(&input, &cancelled)).await
        });
        let mut beat = tokio::time::interval(Duration::from_millis(700));
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = beat.tick() => ctx.record_heartbeat(()).await?,
                _ = ctx.cancelled(), if !cancellation.is_cancelled() => cancellation.cancel(),
            }
        };
        if self.station.is_out().is_some() {
            self.out.notify_one();
        }
        match result {
            Ok(Ok(result)) => result.map_err(of_work),
            Ok(Err(panic)) | Err(panic) => Err(failure("device", format!("{} failed: {panic}", self.station.name))),
        }
    }
}
