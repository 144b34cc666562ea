//! The program's own commands with real proofs at small parameters: two workers on the software driver, one of which is killed.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use openvm_sdk::config::AppConfig;
use openvm_sdk_config::SdkVmConfig;
use openvm_wgpu_backend::fleet::{
    blobs::BlobName,
    temporal::{Job, JobError},
};
use openvm_wgpu_testing::params::SmallParams;
use serde_json::Value;

use crate::{
    alone,
    processes::{free_port, Process, LOCAL},
    until, wait, Scene,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_openvm-wgpu");

fn guest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guest/hash_chain.elf")
}

/// `openvm-wgpu worker` in a process of its own, which tells what it does in a file.
struct RealWorker {
    child: Process,
    log: PathBuf,
}

impl RealWorker {
    fn start(scene: &Scene, name: &str, port: u16) -> Self {
        let log = scene.scratch.path().join(format!("{name}.log"));
        let mut command = scene.program(&["worker", "--gpus", "all", "--memory-budget", "3GiB", "--grace", "20"]);
        command.args(["--name", name, "--metrics-listen", &format!("127.0.0.1:{port}")]);
        command.env("RUST_LOG", "openvm_wgpu_backend::fleet=info");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        Self { child: Process(command.spawn().unwrap()), log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The tasks of which it says so: `begins` or `ends`.
    fn tasks(&self, what: &str) -> Vec<String> {
        let of = |line: &str| {
            // a report, not a sentence
            let (_, report) = line.split_once("station: ")?;
            let mut words = report.split_once(&format!(" {what} "))?.1.split([' ', ':']);
            words.next().map(str::to_owned)
        };
        self.log().lines().filter_map(of).collect()
    }

    fn end(&mut self) -> Value {
        #[allow(unsafe_code)]
        // SAFETY: kill has no memory to break; the process is a child that nobody has waited for
        let sent = unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        assert_eq!(sent, 0);
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text} {}", self.log());
        serde_json::from_str(&text).unwrap()
    }
}

impl Scene {
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--json").env("OPENVM_WGPU_SERVER", self.server.url());
        command.env("OPENVM_WGPU_BLOBS", self.scratch.blobs()).current_dir(self.scratch.path());
        command
    }

    /// What a command prints.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Submits the guest, in small segments.
    fn submit_guest(&self, id: &str) -> Value {
        let params = SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build();
        let vm = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
        let config = toml::to_string(&AppConfig::new(vm, params)).unwrap();
        fs::write(self.scratch.path().join("openvm.toml"), config).unwrap();
        // 70 rounds over a message, as the guest reads them
        let input = r#"{"input": ["014600000000000000", "0161206d657373616765"]}"#;
        fs::write(self.scratch.path().join("input.json"), input).unwrap();
        let elf = guest();
        let memory = ["--segment-max-memory", "580MiB", "--worker-memory", "3GiB"];
        let what = ["submit", elf.to_str().unwrap(), "--input", "input.json", "--config", "openvm.toml", "--id", id];
        self.run(&[&what[..], &memory].concat())
    }
}

/// A figure of a worker's page.
fn figure(port: u16, name: &str) -> f64 {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let values =
        page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.trim().parse::<f64>().ok());
    values.sum()
}

#[test]
fn real_workers_prove_a_guest_though_one_is_killed() {
    let _alone = alone();
    let scene = Scene::new("real");
    let (mut doomed, port) = (RealWorker::start(&scene, "doomed", free_port(LOCAL)), free_port(LOCAL));
    let mut other = RealWorker::start(&scene, "other", port);
    let submitted = scene.submit_guest("job");
    let segments = submitted["segments"].as_u64().unwrap();
    assert!(segments >= 5, "{submitted}");
    wait(async {
        // in the middle of a task that is not its first
        until("tasks of both", 240, || {
            let (begun, ended) = (doomed.tasks("begins"), doomed.tasks("ends"));
            !ended.is_empty() && begun.len() > ended.len() && !other.tasks("ends").is_empty()
        })
        .await;
        doomed.child.kill().unwrap();
        doomed.child.wait().unwrap();
        let (killed, lost) = (Instant::now(), doomed.tasks("begins").pop().unwrap());
        let mut free = killed;
        until("the lost task", 120, || {
            let (begun, ended) = (other.tasks("begins"), other.tasks("ends"));
            // whoever is to take it may be at another one when it comes back
            if begun.len() > ended.len() && !begun.contains(&lost) {
                free = Instant::now();
            }
            begun.contains(&lost)
        })
        .await;
        let restarted = killed.elapsed().as_secs_f64();
        eprintln!("{lost} restarted after {restarted:.1} s");
        assert!(restarted < 5.0 || free.elapsed() < Duration::from_secs(1), "{restarted} s");
    });
    let fetched = scene.run(&["fetch", "job"]);
    assert_eq!(fetched["public_values"].as_str().map(str::len), Some(64), "{fetched}");
    let status = scene.run(&["status", "job"]);
    assert_eq!((status["state"].as_str(), status["segments"].as_u64()), (Some("done"), Some(segments)), "{status}");
    // the one that was lost alone has run twice
    let mut begun = [doomed.tasks("begins"), other.tasks("begins")].concat();
    begun.sort();
    let all = begun.len();
    begun.dedup();
    assert_eq!((begun.len() as u64, all), (segments, begun.len() + 1));
    // figures are brought up to date each second
    std::thread::sleep(Duration::from_millis(1200));
    // beyond the ELF and the input, for each of its segments
    let bytes = figure(port, "fleet_blob_bytes{direction=\"read\"}");
    let (elf, of_other) = (fs::metadata(guest()).unwrap().len() as f64, other.tasks("ends").len() as f64);
    assert!(bytes > 0.0 && bytes <= elf + of_other * 1e6, "{bytes} bytes for {of_other} segments");
    assert_eq!(figure(port, "fleet_tasks{kind=\"segment\",state=\"proved\"}"), of_other);
    traps(&scene);
    let ended = other.end();
    assert_eq!((ended["ok"].as_bool(), ended["proved"].as_f64()), (Some(true), Some(of_other)), "{ended}");
}

/// The same job without its input: the guest's own text ends it.
fn traps(scene: &Scene) {
    wait(async {
        let client = scene.client().await;
        let job = Job::read(client.wait("job").await.unwrap().manifest, &scene.blobs).await.unwrap();
        let nothing = openvm_wgpu_backend::openvm::jobs::input_file(&Default::default());
        let mut trap = Job { input: scene.blobs.put(nothing).await.unwrap(), ..job };
        trap.plan.job = BlobName::of(b"another").to_string();
        let start = Instant::now();
        client.submit("trap", trap.write(&scene.blobs).await.unwrap()).await.unwrap();
        let error = client.wait("trap").await.unwrap_err();
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("the guest's text came after {seconds:.1} s");
        assert!(matches!(&error, JobError::Guest(text) if text.contains("EndOfInputStream")), "{error}");
        assert!(seconds < 5.0, "{seconds} s");
    });
}

#[test]
fn help_has_examples_and_what_is_missing_is_said() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    for command in ["worker", "submit", "status", "watch", "fetch", "cancel"] {
        let help = text(Command::new(PROGRAM).args([command, "--help"]).output().unwrap().stdout);
        assert!(help.contains("Examples:\n  openvm-wgpu ") && help.contains("--json"), "{command}: {help}");
        let job = if command == "worker" { vec![] } else { vec!["guest.elf"] };
        let mut bare = Command::new(PROGRAM);
        bare.env_remove("OPENVM_WGPU_SERVER").env_remove("OPENVM_WGPU_BLOBS").arg(command).args(job);
        let output = bare.output().unwrap();
        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("OPENVM_WGPU_") && said.lines().count() == 1, "{command}: {said}");
    }
}
