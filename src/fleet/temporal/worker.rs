//! A worker: devices that take tasks from a server, for as long as they are to be trusted.

use std::{future::Future, rc::Rc, sync::Arc, time::Duration};

use temporalio_sdk::{
    runtime::{
        worker_tuner::{FixedSizeSlotSupplier, TunerHolder},
        PollerBehavior, RuntimeOptions,
    },
    Runtime, WorkerOptions,
};
use tokio::sync::{watch, Notify, Semaphore};

use super::{
    activities::Activities,
    groups::{queue, CLASSES},
    station::{Counters, Station, Workshop},
    workflow::{Prove, ProveGroup, JOBS},
    FleetError, Server,
};
use crate::{error::with_causes, fleet::blobs::Blobs};

/// Between two attempts to reach a server that is away.
const AGAIN: Duration = Duration::from_millis(500);
/// So long a job waits for the worker that has it in memory, before any other reads it anew.
const WORKFLOW_MOVES: Duration = Duration::from_secs(1);
/// What executors may take longer than the time that was left to them, before the process ends without them.
const LATE: Duration = Duration::from_secs(10);

/// Why a worker has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to; what was under way is finished or went back.
    Stopped,
    /// No device of it is to be trusted or there any more.
    Out(String),
}

/// Devices that work for one server.
pub struct Worker {
    name: String,
    server: Server,
    blobs: Blobs,
    workshops: Vec<Arc<dyn Workshop>>,
    grace: Duration,
    counters: Arc<Counters>,
}

impl Worker {
    /// A worker without devices.
    pub fn new(name: impl Into<String>, server: Server, blobs: Blobs) -> Self {
        let (workshops, counters) = (vec![], Station::counters());
        Self { name: name.into(), server, blobs, workshops, grace: Duration::from_secs(30), counters }
    }

    /// Takes tasks for another device, too.
    pub fn device(mut self, workshop: Arc<dyn Workshop>) -> Self {
        self.workshops.push(workshop);
        self
    }

    /// How long tasks under way may take to finish when the worker is asked to stop; those that do not go back to the server.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The worker's figures.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Works until `stop` is there or no device is left. A server that is away is waited for.
    ///
    /// # Errors
    ///
    /// [`FleetError::Usage`] for options that do not fit each other, or no device.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Ended, FleetError> {
        if self.workshops.is_empty() {
            return Err(FleetError::Usage("a worker needs a device".into()));
        }
        let usage = |reason: String| FleetError::Usage(format!("the worker's machinery: {reason}"));
        let options = RuntimeOptions::builder().build().map_err(usage)?;
        let runtime = Rc::new(Runtime::from_current_tokio(options).map_err(|error| usage(with_causes(&error)))?);
        let stations: Vec<_> = self.workshops.iter().map(|workshop| self.station(workshop)).collect();
        let all_stop = watch::channel(false).0;
        let local = tokio::task::LocalSet::new();
        let devices: Vec<_> = stations
            .iter()
            .enumerate()
            .map(|(number, station)| {
                let post = Post { server: self.server.clone(), station: station.clone(), grace: self.grace };
                local.spawn_local(post.keep(runtime.clone(), number == 0, all_stop.subscribe()))
            })
            .collect();
        let work = local.run_until(async {
            let mut out = None;
            for device in devices {
                match device.await {
                    Ok(reason) => out = reason.or(out),
                    Err(panic) => out = Some(panic.to_string()),
                }
            }
            out
        });
        let stopped = async {
            stop.await;
            all_stop.send_replace(true);
            tokio::time::sleep(self.grace + LATE).await;
        };
        tokio::select! {
            out = work => Ok(out.map_or(Ended::Stopped, Ended::Out)),
            () = stopped => Ok(Ended::Stopped),
        }
    }

    fn station(&self, workshop: &Arc<dyn Workshop>) -> Arc<Station> {
        Arc::new(Station::new(&self.name, workshop.clone(), self.blobs.clone(), self.counters.clone()))
    }
}

/// One device's place at the server's queues.
struct Post {
    server: Server,
    station: Arc<Station>,
    grace: Duration,
}

impl Post {
    /// Takes tasks until told to stop, or until the device is out: then it says why. The first device of a worker takes the jobs' own tasks,
    /// too, even when it is out and others are not.
    async fn keep(self, runtime: Rc<Runtime>, jobs: bool, stop: watch::Receiver<bool>) -> Option<String> {
        let memory = self.station.workshop.memory();
        let classes = CLASSES.into_iter().filter(|class| class << 30 <= memory);
        let queues = classes.map(queue).chain(jobs.then(|| JOBS.to_owned()));
        let (device, out) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
        let stop_device = watch::channel(false).0;
        let this = Rc::new(self);
        let served: Vec<_> = queues
            .map(|queue| {
                let activities = Activities { station: this.station.clone(), device: device.clone(), out: out.clone() };
                let serving = this.clone().serve(runtime.clone(), queue, activities, stop_device.subscribe());
                tokio::task::spawn_local(serving)
            })
            .collect();
        let mut stop = stop;
        let reason = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => None,
            () = out.notified() => this.station.is_out(),
        };
        if let Some(reason) = &reason {
            tracing::error!("{reason}: takes no more tasks");
        }
        stop_device.send_replace(true);
        for serving in served {
            let _ = serving.await;
        }
        reason
    }

    /// Takes tasks from one queue. Connections of their own keep queues apart.
    async fn serve(
        self: Rc<Self>,
        runtime: Rc<Runtime>,
        queue: String,
        activities: Activities,
        stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            let Err(reason) = self.serve_once(&runtime, &queue, &activities, stop.clone()).await else { return };
            tracing::warn!("queue {queue}: {reason}; trying again");
            let mut asked = stop.clone();
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => (),
                _ = asked.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn serve_once(
        &self,
        runtime: &Runtime,
        queue: &str,
        activities: &Activities,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let name = &self.station.name;
        let client = tokio::select! {
            client = self.server.connect(name, true) => client.map_err(|error| error.to_string())?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let is_jobs = queue == JOBS;
        let tuner = TunerHolder::builder()
            .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(20))
            .activity_task_slot_supplier(FixedSizeSlotSupplier::new(if is_jobs { 4 } else { 1 }))
            .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
            .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
            .build();
        let mut options = WorkerOptions::new(queue)
            .client_identity_override(name.clone())
            .tuner(tuner)
            .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(1))
            .max_heartbeat_throttle_interval(Duration::from_secs(1))
            .sticky_queue_schedule_to_start_timeout(WORKFLOW_MOVES)
            .graceful_shutdown_period(self.grace)
            .register_activities(activities.clone());
        if is_jobs {
            let registered = options.register_workflow::<Prove>();
            let registered = registered.and_then(|options| options.register_workflow::<ProveGroup>());
            options = registered.map_err(|error| with_causes(&error))?;
        }
        let worker = temporalio_sdk::Worker::new(runtime, client, options.build());
        let mut worker = worker.map_err(|error| with_causes(&error))?;
        let shut_down = worker.shutdown_handle();
        let told = tokio::task::spawn_local(async move {
            let _ = stop.wait_for(|stop| *stop).await;
            shut_down();
        });
        let ended = worker.run().await;
        told.abort();
        ended.map_err(|error| with_causes(&error))
    }
}
