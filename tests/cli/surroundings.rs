//! What surrounds the program is not as it should be: full disks, readers that leave, no GPU, names that are no text.

use std::{fs, io::Read};

use super::*;

/// How it ended and what it said on standard error, of which the last line is the error.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stderr))
}

/// A record of a run in which nothing happened.
const RECORD: &str = r#"{"version": "0", "command": "prove", "adapter": "a", "driver": "d", "host": "h", "started": 0, "seconds": 1.0,
    "steps": [], "segments": [], "nodes": [], "spans": [], "memory": [], "kernels": {}, "device": [], "host_waits": 0, "peak_bytes": 0}"#;

#[test]
#[cfg(target_os = "linux")]
fn full_disks_are_told() {
    let project = &*PROJECT;
    let full = || fs::File::create("/dev/full").unwrap();
    for args in [&["man"][..], &["man", "--json"], &["completions", "bash"], &["--help"], &["prove", "app", "--help"]] {
        let mut command = project.command(args);
        command.stdout(full());
        let (code, said) = ended(command);
        assert!(code == Some(2) && said.lines().count() == 1, "{args:?}: {said}");
        assert!(said.contains("cannot print to standard output: No space"), "{args:?}: {said}");
    }
    fs::write(project.path("nothing.json"), RECORD).unwrap();
    let (code, line) = project.fails(&["report", "nothing.json", "--output", "/dev/full"]);
    assert!(code == 2 && line.contains("cannot write /dev/full: No space"), "{code}: {line}");
    // what is no file stays what it is
    let shown = project.run(&["report", "nothing.json", "--quiet", "--output", "/dev/stdout"]);
    assert!(text(&shown.stdout).starts_with("<!doctype html>"), "{}", text(&shown.stderr));
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
    let (code, line) = project.fails(&["keygen", "--app-only", "--output-dir", "/proc/none"]);
    assert!(code == 2 && line.contains("cannot make /proc/none"), "{code}: {line}");
}

#[test]
#[cfg(unix)]
fn a_link_to_a_file_stays_one() {
    let project = &*PROJECT;
    fs::write(project.path("linked.json"), RECORD).unwrap();
    fs::write(project.path("behind.html"), "before").unwrap();
    std::os::unix::fs::symlink("behind.html", project.path("link.html")).unwrap();
    project.ok(&["report", "linked.json", "--output", "link.html"]);
    assert!(fs::symlink_metadata(project.path("link.html")).unwrap().is_symlink());
    assert!(fs::read_to_string(project.path("behind.html")).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let project = &*PROJECT;
    for args in [&["man"][..], &["--help"], &["completions", "zsh"]] {
        let mut running = Running(project.command(args).spawn().unwrap());
        let mut first = [0; 1];
        running.0.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let mut said = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(running.0.wait().unwrap().success() && said.is_empty(), "{args:?}: {said}");
    }
}

#[test]
#[cfg(unix)]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let project = &*PROJECT;
    let odd = std::ffi::OsStr::from_bytes(b"gu\xffest");
    let with = |args: &[&str]| {
        let mut command = project.command(args);
        command.arg(odd);
        ended(command)
    };
    let (code, said) = with(&["execute", "--exe"]);
    assert!(code == Some(2) && said.contains("no guest") && said.lines().count() <= 2, "{said}");
    for args in [&["execute", "--input"][..], &["prof"], &["prove", "app", "--gpus"]] {
        let (code, said) = with(args);
        assert!(code == Some(2) && said.starts_with("error: ") && said.lines().count() == 1, "{args:?}: {said}");
    }
    fs::write(project.path("odd.json"), RECORD).unwrap();
    let (code, said) = with(&["report", "odd.json", "--json", "--output"]);
    assert!(code == Some(0) && project.folder.join(odd).is_file(), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_machine_without_a_gpu_is_told_what_to_install() {
    let project = &*PROJECT;
    let out = project.out("no-gpu", 1);
    let without = |args: &[&str]| {
        let mut command = project.command(&[args, &["--quiet"]].concat());
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        ended(command)
    };
    let (code, said) = without(&["doctor"]);
    assert!(code == Some(4) && said.contains("no GPU adapter found") && said.contains("driver"), "{said}");
    let prove = prove_args("app", &out);
    let on_all = [&refs(&prove)[..], &["--gpus", "all"]].concat();
    for args in [&refs(&prove)[..], &on_all, &["meter"], &["bench", "proofs"]] {
        let (code, said) = without(args);
        assert!(code == Some(4) && said.contains("openvm-wgpu doctor"), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn a_user_without_a_home_names_the_keys() {
    let project = &*PROJECT;
    for args in [&["verify", "stark"][..], &["setup"], &["prove", "stark"]] {
        let mut command = project.command(&[args, &["--quiet"]].concat());
        command.env_remove("HOME").env_remove("USERPROFILE");
        let (code, said) = ended(command);
        assert!(code == Some(2) && said.contains("HOME is not set"), "{args:?}: {said}");
    }
}
