//! A run that ends early is gone on with by the same command.

use std::{
    fs,
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::*;

/// Enough for three segments.
const ROUNDS: u64 = 60;

/// The whole files of a folder of parts.
pub fn parts(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out.join("guest.parts")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut parts: Vec<_> = entries.filter(|path| path.extension().is_none()).collect();
    parts.sort();
    parts
}

/// Runs `args` until there are `more` parts than there were, then does `then`; whether the run ended before.
pub fn until_parts(
    project: &Project,
    args: &[String],
    out: &Path,
    more: usize,
    then: impl FnOnce(&mut Child),
) -> ExitStatus {
    let before = parts(out).len();
    let mut running =
        Running(project.command(&refs(args)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let start = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status;
        }
        if parts(out).len() >= before + more {
            then(&mut running.0);
            return running.0.wait().unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(300), "no progress");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_run_that_is_killed_after_each_segment_goes_on() {
    let (project, _turn) = (&*PROJECT, turn());
    let whole = project.out("resume-whole", ROUNDS);
    let said = project.ok(&refs(&prove_args("app", &whole)));
    let segments = said["segments"].as_u64().unwrap() as usize;
    assert!(segments > 1 && said["kept"] == 0, "{said}");

    let out = project.out("resume", ROUNDS);
    let args = prove_args("app", &out);
    for killed in 0..segments {
        until_parts(project, &args, &out, 1, |child| child.kill().unwrap());
        assert!(parts(&out).len() > killed || out.join("guest.app.proof").exists());
    }
    // a part that was changed on disk and half of one are made again
    if let [first, .., last] = &parts(&out)[..] {
        let mut bytes = fs::read(first).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(first, &bytes).unwrap();
        let bytes = fs::read(last).unwrap();
        fs::write(last, &bytes[..bytes.len() / 2]).unwrap();
    }
    let said = project.ok(&refs(&args));
    assert_eq!(said["segments"], segments);
    assert!(said["kept"].as_u64().unwrap() as usize + 2 >= segments, "{said}");
    let proof = |out: &Path| fs::read(out.join("guest.app.proof")).unwrap();
    assert!(proof(&out) == proof(&whole), "the proof is the one of a run without a break");
    assert!(!out.join("guest.parts").exists());
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_what_is_under_way_and_twice_leaves() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("stop", ROUNDS);
    let args = prove_args("app", &out);
    let status = until_parts(project, &args, &out, 1, |child| interrupt(child));
    assert_eq!(status.code(), Some(5));
    let kept = parts(&out).len();
    assert!(kept >= 1 && !out.join("guest.app.proof").exists());
    let status = until_parts(project, &args, &out, 0, |child| {
        std::thread::sleep(Duration::from_millis(1500));
        interrupt(child);
        std::thread::sleep(Duration::from_millis(100));
        interrupt(child);
    });
    assert_eq!(status.code(), Some(130));
    assert_eq!(parts(&out).len(), kept);
    // other input has nothing to go on with
    fs::write(out.join("input.json"), input(1)).unwrap();
    assert_eq!(project.ok(&refs(&args))["kept"], 0);
}
