//! The program `openvm-wgpu`: upstream's files both ways, runs that go on where they ended, pictures, and one line
//! about what is wrong.

mod aggregation;
mod formats;
mod help;
mod pictures;
mod resume;
mod surroundings;
mod wrong;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{LazyLock, Mutex, MutexGuard},
};

use openvm_sdk::{
    config::{AggregationSystemParams, AppConfig},
    fs::write_object_to_file,
    CpuSdk,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::SystemParams;
use openvm_wgpu_backend::openvm::decode_elf;
use openvm_wgpu_testing::params::SmallParams;
use serde_json::Value;

const ELF: &[u8] = include_bytes!("../../examples/guest/hash_chain.elf");

/// Where executions of the guest are cut.
const SEGMENT_MEMORY: &str = "700MiB";

/// A folder of a project with openvm.toml, keys by this program and a guest by upstream's, which all tests share. They write into folders
/// of their own.
struct Project {
    folder: PathBuf,
}

static PROJECT: LazyLock<Project> = LazyLock::new(|| {
    // not below this crate's Cargo.toml, beside which keys would go
    let folder = std::env::temp_dir().join(format!("openvm-wgpu-cli-{}", std::process::id()));
    fs::create_dir_all(folder.join("home")).unwrap();
    let config = AppConfig::new(vm_config(), app_params());
    fs::write(folder.join("openvm.toml"), toml::to_string(&config).unwrap()).unwrap();
    fs::write(folder.join("guest.elf"), ELF).unwrap();
    let sdk = CpuSdk::new(config, AggregationSystemParams::default()).unwrap();
    let exe = sdk.convert_to_exe(decode_elf(ELF).unwrap()).unwrap();
    write_object_to_file(folder.join("openvm/release/guest.vmexe"), exe.as_ref()).unwrap();
    let project = Project { folder };
    project.ok(&["keygen", "--app-only", "--config", "openvm.toml"]);
    project
});

fn app_params() -> SystemParams {
    // the VM's largest lookup table has 2^19 rows
    SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build()
}

fn vm_config() -> SdkVmConfig {
    SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() }
}

/// `rounds` and the message that the guest hashes, as upstream's tool takes them.
fn input(rounds: u64) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(r#"{{"input": ["01{}", "0x01{}"]}}"#, hex(&rounds.to_le_bytes()), hex(b"a message"))
}

/// Tests that prove take turns: two processes on one software driver only make each other slow.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Project {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A fresh folder below the project's, with an input of so many rounds.
    fn out(&self, name: &str, rounds: u64) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("input.json"), input(rounds)).unwrap();
        folder
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openvm-wgpu"));
        command.current_dir(&self.folder).env("HOME", self.path("home")).env_remove("RUST_LOG").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that succeeds prints with --json.
    fn ok(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        json_of(&output)
    }

    /// What a command that fails says; its exit code.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(&[args, &["--quiet"]].concat());
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code().expect("an exit code");
        assert!(code != 0, "{args:?} does not fail: {out}");
        assert_eq!(error.lines().count(), 1, "{args:?} says {error}");
        let line = error.trim().strip_prefix("error: ").unwrap_or_else(|| panic!("{args:?} says {error}"));
        (code, line.to_owned())
    }
}

/// The options of a proof of the guest into `out`.
fn prove_args(kind: &str, out: &Path) -> Vec<String> {
    let file = |name: &str| out.join(name).display().to_string();
    let proof = file(&format!("guest.{kind}.proof"));
    let args =
        ["prove", kind, "--segment-max-memory", SEGMENT_MEMORY, "--proof", &proof, "--input", &file("input.json")];
    args.iter().map(ToString::to_string).collect()
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_of(output: &Output) -> Value {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {error}", output.status);
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap_or_else(|problem| panic!("{problem}: {out}"))
}

/// Ends a process when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
