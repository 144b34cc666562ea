//! Fleets on Temporal's development server, which `scripts/with-temporal` has: workers that die, sleep, lie and leave, with executors that stand
//! in for provers. Every process here is a child of its test and ends with it, by its id.

mod failures;
mod network;
mod processes;
mod real;
mod s3;
mod stand_in;
mod tls;

use std::{
    collections::BTreeMap,
    sync::{mpsc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use network::Host;
use openvm_wgpu_backend::fleet::{
    blobs::{BlobName, Blobs},
    temporal::{Client, Ended, Job, JobError, JobState, Outcome, Server, Worker},
    Graph,
};
use processes::{DevServer, Scratch, WorkerProcess};
use stand_in::{plan, StandIn, StandInWorkshop};

/// One test at a time: each has a server, and there are two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let value = runtime.block_on(future);
    runtime.shutdown_background();
    value
}

/// Runs a worker of this process beside `what`.
fn beside<T>(worker: Worker, what: impl std::future::Future<Output = T>) -> T {
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // goes before the scope ends, however it does
        let stop = stop;
        let stopped = async { _ = tokio::task::spawn_blocking(move || stopped.recv()).await };
        let work = scope.spawn(move || wait(worker.run(stopped)).unwrap());
        let value = wait(what);
        drop(stop);
        work.join().unwrap();
        value
    })
}

/// Until `condition` holds, at most `seconds`.
async fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A scene: a folder for blobs and logs, a server, a client.
struct Scene {
    scratch: Scratch,
    server: DevServer,
    blobs: Blobs,
}

impl Scene {
    fn new(name: &str) -> Self {
        Self::at_ip(name, processes::LOCAL)
    }

    fn at_ip(name: &str, ip: &'static str) -> Self {
        let scratch = Scratch::new(name);
        let server = DevServer::start(&scratch, ip);
        let blobs = Blobs::open(scratch.blobs().to_str().unwrap()).unwrap();
        Self { scratch, server, blobs }
    }

    fn at(&self) -> Server {
        Server::new(self.server.url())
    }

    async fn client(&self) -> Client {
        Client::connect(&self.at()).await.unwrap()
    }

    fn worker(&self, name: &str, stand_in: StandIn) -> WorkerProcess {
        WorkerProcess::start(name, &self.server.url(), &self.scratch, &stand_in, None)
    }

    fn worker_on(&self, host: &Host, name: &str, stand_in: StandIn) -> WorkerProcess {
        WorkerProcess::start(name, &self.server.url(), &self.scratch, &stand_in, Some(host))
    }

    /// Submits a job of so many segments.
    async fn submit(&self, client: &Client, id: &str, segments: usize, aggregated: bool) -> BlobName {
        let plan = plan(id, segments, aggregated);
        let name = BlobName::of(b"");
        let manifest =
            Job { elf: name, config: name, input: name, metering: name, plan }.write(&self.blobs).await.unwrap();
        client.submit(id, manifest).await.unwrap();
        manifest
    }

    /// That the result is one of all segments, in order.
    async fn check(&self, id: &str, outcome: &Outcome, segments: usize, aggregated: bool) {
        let plan = plan(id, segments, aggregated);
        let graph = Graph::new(&plan).unwrap();
        if aggregated {
            let root = graph.tasks().last().unwrap();
            let statement = stand_in::verify(&plan.job, root, &self.blobs.get(outcome.proof).await.unwrap()).unwrap();
            assert_eq!(statement, stand_in::whole(segments));
            return;
        }
        let proofs = Client::segments(outcome, &self.blobs).await.unwrap();
        assert_eq!(proofs.len(), segments);
        for (task, proof) in graph.tasks().zip(&proofs) {
            let statement = stand_in::verify(&plan.job, task, proof).unwrap();
            assert_eq!(statement, stand_in::statement(task), "{}", task.id);
        }
    }

    /// How often each task was begun, and by whom last.
    fn begun(&self) -> BTreeMap<String, Vec<String>> {
        let mut begun: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.scratch.log().lines() {
            let mut words = line.split(' ');
            if let (Some("begin"), Some(id), Some(worker)) = (words.next(), words.next(), words.next()) {
                begun.entry(id.to_owned()).or_default().push(worker.to_owned());
            }
        }
        begun
    }
}

fn tasks(segments: usize, aggregated: bool) -> usize {
    Graph::new(&plan("any", segments, aggregated)).unwrap().tasks().len()
}

/// Not a test by itself: what a worker process of the others runs.
#[test]
fn worker_process() {
    let Some(order) = processes::Order::from_environment() else { return };
    let ended = wait(async {
        let blobs = Blobs::open(&order.blobs).unwrap();
        let server = Server::new(order.server);
        let workshop = StandInWorkshop::new(order.stand_in, order.log);
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let worker = Worker::new(order.name, server, blobs).device(workshop).grace(Duration::from_secs(2));
        worker.run(async move { _ = term.recv().await }).await.unwrap()
    });
    match ended {
        Ended::Stopped => std::process::exit(0),
        Ended::Out(reason) => {
            eprintln!("{reason}");
            std::process::exit(9)
        }
    }
}

#[test]
fn jobs_of_all_shapes_end_with_their_proofs() {
    let _alone = alone();
    let scene = Scene::new("shapes");
    let _worker = scene.worker("a", StandIn::default());
    wait(async {
        let client = scene.client().await;
        let shapes = [(1, true), (1, false), (5, true), (37, true), (7, false), (501, false)];
        for (segments, aggregated) in shapes {
            let id = format!("job-{segments}-{aggregated}");
            scene.submit(&client, &id, segments, aggregated).await;
            let outcome = client.wait(&id).await.unwrap();
            scene.check(&id, &outcome, segments, aggregated).await;
            let status = client.status(&id).await.unwrap();
            assert_eq!((status.state, status.segments), (JobState::Done, segments));
            assert_eq!((status.done, status.tasks), (tasks(segments, aggregated), tasks(segments, aggregated)));
            let last = Client::last_segment(&outcome, &scene.blobs).await.unwrap();
            assert!(String::from_utf8_lossy(&last).contains(&format!("segment/0/{}/", segments - 1)));
        }
        // a job that was done before is a look-up
        let before = scene.begun();
        scene.submit(&client, "job-37-true", 37, true).await;
        let outcome = client.wait("job-37-true").await.unwrap();
        scene.check("job-37-true", &outcome, 37, true).await;
        assert_eq!(scene.begun(), before);
        assert!(before.values().all(|begun| begun.len() == 1));
        assert!(matches!(client.wait("none").await, Err(JobError::Unknown(id)) if id == "none"));
    });
}

#[test]
fn a_cancelled_job_ends_and_its_worker_goes_on() {
    let _alone = alone();
    let scene = Scene::new("cancelled");
    let _worker = scene.worker("a", StandIn { milliseconds: 3000, ..StandIn::default() });
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 30, true).await;
        until("the first task", 30, || !scene.begun().is_empty()).await;
        client.cancel("job").await.unwrap();
        let start = Instant::now();
        assert_eq!(client.wait("job").await, Err(JobError::Cancelled));
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(client.status("job").await.unwrap().state, JobState::Cancelled);
        scene.submit(&client, "next", 1, false).await;
        scene.check("next", &client.wait("next").await.unwrap(), 1, false).await;
        assert!(scene.begun().len() < 5, "{:?}", scene.begun());
    });
}

#[test]
fn a_job_without_a_worker_has_a_state_and_waits() {
    let _alone = alone();
    let scene = Scene::new("nobody");
    wait(async {
        let client = scene.client().await;
        scene.submit(&client, "job", 3, true).await;
        let start = Instant::now();
        let status = client.status("job").await.unwrap();
        assert_eq!((status.state, status.answered, status.tasks), (JobState::Running, false, 0));
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        let _worker = scene.worker("a", StandIn::default());
        scene.check("job", &client.wait("job").await.unwrap(), 3, true).await;
        assert!(client.status("job").await.unwrap().answered);
    });
}

#[test]
fn no_task_begins_where_it_does_not_fit() {
    let _alone = alone();
    let scene = Scene::new("budgets");
    let of = |gib: u64| StandIn { gib, milliseconds: 20, ..StandIn::default() };
    let _workers = [4, 8, 24].map(|gib| scene.worker(&format!("gib{gib}"), of(gib)));
    wait(async {
        let client = scene.client().await;
        let mut plan = plan("job", 60, true);
        let sizes = [3, 7, 20];
        plan.segments.iter_mut().for_each(|segment| segment.device_bytes = sizes[segment.place.segment % 3] << 30);
        plan.node_bytes = 10 << 30;
        let name = BlobName::of(b"");
        let job = Job { elf: name, config: name, input: name, metering: name, plan };
        client.submit("job", job.write(&scene.blobs).await.unwrap()).await.unwrap();
        scene.check("job", &client.wait("job").await.unwrap(), 60, true).await;
        for task in Graph::new(&job.plan).unwrap().tasks() {
            for worker in &scene.begun()[&task.id] {
                let gib: u64 = worker["gib".len()..].split('/').next().unwrap().parse().unwrap();
                assert!(gib << 30 >= task.device_bytes, "{} at {worker}", task.id);
            }
        }
    });
}

#[test]
fn tasks_of_several_groups_run_once_each() {
    let _alone = alone();
    let scene = Scene::new("many");
    // four groups and the tree above them
    let segments = 1000;
    let _workers = ["a", "b", "c", "d"].map(|name| scene.worker(name, StandIn::default()));
    wait(async {
        let client = scene.client().await;
        let start = Instant::now();
        scene.submit(&client, "job", segments, true).await;
        let outcome = client.wait("job").await.unwrap();
        let (elapsed, all) = (start.elapsed(), tasks(segments, true));
        scene.check("job", &outcome, segments, true).await;
        assert_eq!(scene.begun().len(), all);
        assert!(scene.begun().values().all(|by| by.len() == 1));
        let memory = scene.server.peak_memory();
        eprintln!("{all} tasks in {:.0} s, server {} MB", elapsed.as_secs_f64(), memory >> 20);
        assert!(memory < 1 << 30);
    });
}
