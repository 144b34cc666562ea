//! What happens around a proof in a process: how it is configured, how it forks, and how it ends while threads prove. Each case is a process of
//! its own, this binary once more.

mod device;

use std::{
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use openvm_stark_backend::{
    prover::{DeviceDataTransporter, ProvingContext},
    test_utils::{FibFixture, TestFixture},
    StarkEngine, SystemParams,
};
use openvm_wgpu_backend::{Error, WgpuDeviceBuilder};

use device::Engine;
use openvm_wgpu_testing::{params::SmallParams, parity::prove_on};

/// What a child is to do.
const ROLE: &str = "OPENVM_WGPU_TEST_ROLE";

/// A process that hangs is an error, after more time than a loaded machine takes to compile the kernels of a proof.
const PATIENCE: Duration = Duration::from_secs(300);

fn params() -> SystemParams {
    SmallParams::new(2, 4).build()
}

/// One small proof, verified.
fn prove(engine: &Engine) -> Result<(), String> {
    let fixture = FibFixture::new(0, 1, 16);
    let pk = fixture.keygen(engine).0;
    let proof = prove_on(engine, &pk, &fixture.generate_proving_ctx())?;
    engine.verify(&pk.get_vk(), &proof).map_err(|error| error.to_string())
}

/// This binary in a role, in an environment that sets (or, without a value, removes) these variables.
fn child(role: &str, variables: &[(&str, Option<&str>)]) -> Command {
    in_role(Command::new(this_binary()), role, variables)
}

fn this_binary() -> PathBuf {
    std::env::current_exe().expect("the test binary is a file")
}

/// A command that passes its arguments on to this binary, as [`child`].
fn in_role(mut command: Command, role: &str, variables: &[(&str, Option<&str>)]) -> Command {
    command.args(["--exact", "in_a_role", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// How the child ended.
fn end(mut child: Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("the child can be killed");
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What the child printed; it has to succeed.
fn output(mut command: Command) -> String {
    let output = command.spawn().and_then(Child::wait_with_output).expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

/// Does nothing in the test run itself.
#[test]
fn in_a_role() {
    match std::env::var(ROLE).as_deref() {
        Ok("open") => match WgpuDeviceBuilder::new().build(params()) {
            Ok(device) => {
                device.synchronize().unwrap();
                device.gpu().store_pipelines();
                println!("opened {}", device.adapter_info());
            }
            Err(error) => println!("error: {error}"),
        },
        Ok("budget") => {
            let device = WgpuDeviceBuilder::new().build(params()).unwrap();
            println!("budget {}", device.gpu().memory_budget());
        }
        #[cfg(unix)]
        Ok("fork") => roles::fork(),
        Ok("exit") => roles::exit(),
        Ok(role) => panic!("unknown role {role}"),
        Err(_) => {}
    }
}

mod roles {
    use super::*;

    #[cfg(unix)]
    mod c {
        extern "C" {
            pub fn fork() -> i32;
            pub fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
            pub fn _exit(status: i32) -> !;
        }
    }

    /// Proves, forks, tries to prove in the child by every way in, and proves on in the parent.
    #[cfg(unix)]
    pub fn fork() {
        let engine = Engine::new(params());
        prove(&engine).unwrap();
        let (fixture, device) = (FibFixture::new(0, 1, 16), engine.device());
        let (pk, traces) = (fixture.keygen(&engine).0, fixture.generate_proving_ctx());
        let key = device.transport_pk_to_device(&pk);
        // SAFETY: the child calls nothing that needs another thread, which is what is tested, and ends by `_exit`.
        let process = unsafe { c::fork() };
        if process == 0 {
            let refused = |result: Result<(), String>| result.is_err_and(|error| error.contains("fork"));
            let empty = ProvingContext::new(vec![]);
            let results = [
                refused(prove_on(&engine, &pk, &traces).map(|_| ())),
                refused(engine.prove(&key, empty).map(|_| ()).map_err(|error| error.to_string())),
                refused(device.synchronize().map_err(|error| error.to_string())),
                refused(device.gpu().upload(&[1u32], "test").map(|_| ()).map_err(|error| error.to_string())),
                matches!(device.gpu().alloc::<u32>(1, "test"), Err(Error::Forked { .. })),
                std::panic::catch_unwind(|| Engine::new(params())).is_err(),
            ];
            let failed = results.iter().position(|refused| !refused);
            // SAFETY: ends the child.
            unsafe { c::_exit(failed.map_or(0, |i| i as i32 + 1)) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { c::waitpid(process, &mut status, 0) }, process);
        assert_eq!(status, 0, "the child's {}. way in is not refused", status >> 8);
        prove(&engine).unwrap();
    }

    /// Ends while two threads prove on devices of their own, at any moment of it. The devices are there: their opening is not safe in this way
    /// (docs/reliability.md).
    pub fn exit() {
        let moment: u64 = std::env::var("OPENVM_WGPU_TEST_MOMENT").unwrap().parse().unwrap();
        for _ in 0..2 {
            let engine = Engine::from_device(WgpuDeviceBuilder::new().build(params()).unwrap());
            thread::spawn(move || loop {
                prove(&engine).unwrap();
            });
        }
        thread::sleep(Duration::from_millis(moment));
        std::process::exit(7);
    }
}

#[test]
fn empty_variables_are_unset() {
    let home = std::env::temp_dir().join(format!("openvm-wgpu-empty-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let empty = ["WGPU_BACKEND", "WGPU_ADAPTER_NAME", "OPENVM_WGPU_PROFILE", "XDG_CACHE_HOME", "HOME"];
    for set in ["", " "] {
        let mut command = child("open", &empty.map(|name| (name, Some(set))));
        command.current_dir(&home);
        let text = output(command);
        assert!(text.contains("opened "), "{text}");
    }
    // nor is a cache made in the working directory
    assert!(![".cache/openvm-wgpu-backend", "openvm-wgpu-backend"].iter().any(|cache| home.join(cache).exists()));
    std::fs::remove_dir_all(home).unwrap();
}

#[test]
fn unknown_values_are_errors_that_name_variable_and_value() {
    for (name, value) in
        [("WGPU_BACKEND", "vulcan"), ("OPENVM_WGPU_PROFILE", "apple-m9"), ("WGPU_ADAPTER_NAME", "GTX 9000")]
    {
        let text = output(child("open", &[(name, Some(value))]));
        assert!(text.contains("error: ") && text.contains(value), "{text}");
        assert!(text.contains(name) || name == "WGPU_ADAPTER_NAME", "{text}");
    }
}

#[cfg(unix)]
#[test]
fn children_of_fork_get_an_error() {
    let child = child("fork", &[]).spawn().unwrap();
    assert!(end(child).success());
}

/// However a process ends while threads compile, submit and wait, it ends with its own exit code.
#[test]
fn processes_end_while_threads_prove() {
    for moment in [0, 30, 100, 200, 350, 500, 800, 1200, 2000, 3000] {
        let mut command = child("exit", &[]);
        let child = command.env("OPENVM_WGPU_TEST_MOMENT", moment.to_string()).spawn().unwrap();
        let status = end(child);
        assert_eq!(status.code(), Some(7), "after {moment} ms: {status}");
    }
}

/// A disk that is full after so many blocks of 512 bytes, as a limit on the size of files has it: the process opens its device all the same, and
/// what lies in the cache's folder is what lay there before.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_the_cache_alone() {
    let folder = std::env::temp_dir().join(format!("openvm-wgpu-full-{}", std::process::id()));
    let files = || {
        let entries = std::fs::read_dir(folder.join("openvm-wgpu-backend")).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|e| (e.file_name(), std::fs::read(e.path()).unwrap())).collect();
        files.sort();
        files
    };
    let open = |blocks: u64| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks} && exec \"$0\" \"$@\"")).arg(this_binary());
        shell.env("XDG_CACHE_HOME", &folder);
        let text = output(in_role(shell, "open", &[("MESA_SHADER_CACHE_DISABLE", Some("1"))]));
        assert!(text.contains("opened "), "{text}");
        files()
    };
    let mut tried = 0;
    let empty = files();
    assert_eq!(open(0), empty);
    let stored = open(1 << 20);
    for (name, content) in &stored {
        let blocks = content.len() as u64 / 512;
        // cut within the header, within the driver's data, and at its end; over a file, and where none is
        for limit in [0, 1, blocks / 2, blocks].into_iter().filter(|limit| 512 * limit < content.len() as u64) {
            for bad in [None, Some(b"damaged".to_vec())] {
                let path = folder.join("openvm-wgpu-backend").join(name);
                match &bad {
                    Some(bad) => std::fs::write(&path, bad).unwrap(),
                    None => std::fs::remove_file(&path).unwrap_or_default(),
                }
                let before = files();
                assert_eq!(open(limit), before, "{limit} of {blocks} blocks");
                tried += 1;
            }
        }
    }
    println!("{tried} full disks, for {} files", stored.len());
    std::fs::remove_dir_all(folder).unwrap_or_default();
}

/// The address space of a process bounds its budget, as a container's memory does (whose files `gpu::host_memory` is tested with).
#[cfg(target_os = "linux")]
#[test]
fn budgets_stay_within_the_limits_of_the_process() {
    let budget = |command: Command| -> u64 {
        let text = output(command);
        let at = text.find("budget ").expect("the role prints it") + "budget ".len();
        text[at..].split_whitespace().next().unwrap().parse().unwrap()
    };
    let unlimited = budget(child("budget", &[]));
    let binary = std::env::current_exe().unwrap();
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg("ulimit -v 8388608 && exec \"$0\" --exact in_a_role --nocapture --test-threads=1")
        .arg(binary);
    limited.env(ROLE, "budget").stdout(Stdio::piped()).stderr(Stdio::piped());
    let limited = budget(limited);
    assert!(limited == (8 << 30) / 4 * 3 || unlimited < limited, "{limited} of {unlimited}");
}
