//! Child processes: the server and workers, each ended by its id when its handle goes.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::{network::Host, stand_in::StandIn};

/// A folder that goes with its handle.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("openvm-wgpu-fleet-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    pub fn log_path(&self) -> PathBuf {
        self.0.join("log")
    }

    /// What workers did so far: `begin ID WORKER` and `end ID WORKER`, line by line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child that ends with its handle, by its id.
pub struct Process(pub Child);

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.wait();
    }
}

/// A port of `ip` that nobody listens at.
pub fn free_port(ip: &str) -> u16 {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port()
}

/// A server's address for this host alone.
pub const LOCAL: &str = "127.0.0.1";

/// Temporal's development server.
pub struct DevServer {
    binary: String,
    ip: &'static str,
    port: u16,
    database: PathBuf,
    child: Process,
}

impl DevServer {
    pub fn start(scratch: &Scratch, ip: &'static str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/with-temporal");
        let found = Command::new(script).arg("--binary").stderr(Stdio::inherit()).output().unwrap();
        assert!(found.status.success(), "no server: {found:?}");
        let binary = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        let port = free_port(ip);
        let database = scratch.0.join("server.db");
        let child = run(&binary, ip, port, &database);
        Self { binary, ip, port, database, child }
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}", self.ip, self.port)
    }

    /// Without any warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = run(&self.binary, self.ip, self.port, &self.database);
    }

    /// The most memory that it has had, bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

/// As `scripts/with-temporal` has it.
fn run(binary: &str, ip: &str, port: u16, database: &Path) -> Process {
    // its parts find each other at 127.0.0.1
    let listen = if ip == LOCAL { ip } else { "0.0.0.0" };
    let mut command = Command::new(binary);
    command.args(["server", "start-dev", "--headless", "--ip", listen, "--log-level", "never"]);
    command.args(["--port", &port.to_string(), "--db-filename"]).arg(database);
    command.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
    for side in ["Read", "Write"] {
        command.args(["--dynamic-config-value", &format!("matching.numTaskqueue{side}Partitions=1")]);
    }
    let child = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let start = Instant::now();
    while TcpStream::connect((ip, port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "the server does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// What a worker process is to do, from its environment.
pub struct Order {
    pub name: String,
    pub server: String,
    pub blobs: String,
    pub log: PathBuf,
    pub stand_in: StandIn,
}

const ORDER: &str = "OPENVM_WGPU_TEST_WORKER";

impl Order {
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var(ORDER).ok()?;
        let (name, server, blobs, log, stand_in) = serde_json::from_str(&text).unwrap();
        Some(Self { name, server, blobs, log, stand_in })
    }
}

/// A worker in a process of its own.
pub struct WorkerProcess(Process);

impl WorkerProcess {
    /// This very binary, which runs the test `worker_process` alone, on another host if there is one.
    pub fn start(name: &str, server: &str, scratch: &Scratch, stand_in: &StandIn, host: Option<&Host>) -> Self {
        let order = (name, server, scratch.blobs(), scratch.log_path(), stand_in);
        let this = std::env::current_exe().unwrap();
        let mut command = host.map_or_else(|| Command::new(&this), |host| host.command(this.to_str().unwrap()));
        command.args(["--exact", "worker_process", "--nocapture"]).stdout(Stdio::null());
        Self(Process(command.env(ORDER, serde_json::to_string(&order).unwrap()).spawn().unwrap()))
    }

    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory to break; the process is a child that nobody has waited for
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }

    /// Without any warning.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// What it has exited with, if it has.
    pub fn ended(&mut self) -> Option<i32> {
        self.0.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }
}
