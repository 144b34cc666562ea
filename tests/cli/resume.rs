//! A run that ends early is gone on with by the same command.

use std::{
    collections::BTreeMap,
    fs,
    process::ExitStatus,
    time::{Duration, Instant, SystemTime},
};

use super::*;

/// Enough for three segments: when the first one is kept, the second has its turn, and the third must wait.
const ROUNDS: u64 = 60;

/// The whole files of the folder of parts, and when they were written.
pub fn parts(out: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(out.join("guest.parts")).into_iter().flatten().flatten().map(|entry| entry.path());
    let whole = entries.filter(|path| path.extension().is_none());
    whole.filter_map(|path| Some((path.clone(), fs::metadata(&path).ok()?.modified().ok()?))).collect()
}

/// The only part whose name begins so, or the first.
pub fn part(out: &Path, kind: &str) -> PathBuf {
    let mut parts = parts(out).into_keys();
    parts.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind))).expect(kind)
}

/// Changes one bit of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, &bytes).unwrap();
}

/// Leaves half of a file.
pub fn halve(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Runs `args` until there are as many `parts`, then does `then` to it. How it ended, and what it said.
pub fn until(
    project: &Project,
    args: &[String],
    out: &Path,
    count: usize,
    then: impl FnOnce(&mut Child),
) -> (ExitStatus, String) {
    let said = fs::File::create(out.join("said.txt")).unwrap();
    let mut running = Running(project.command(&refs(args)).stdout(Stdio::null()).stderr(said).spawn().unwrap());
    // it says what it does; a step takes half a minute on a machine that has nothing else to do
    let log_bytes = || fs::metadata(out.join("said.txt")).map_or(0, |log| log.len());
    let (mut since, mut bytes) = (Instant::now(), 0);
    while running.0.try_wait().unwrap().is_none() && parts(out).len() < count {
        if log_bytes() != bytes {
            (since, bytes) = (Instant::now(), log_bytes());
        }
        assert!(since.elapsed() < Duration::from_secs(600), "no progress");
        std::thread::sleep(Duration::from_millis(2));
    }
    then(&mut running.0);
    let status = running.0.wait().unwrap();
    (status, fs::read_to_string(out.join("said.txt")).unwrap())
}

/// SIGKILL, which no process can prepare for.
pub fn kill(child: &mut Child) {
    child.kill().unwrap();
}

#[cfg(unix)]
fn interrupt(child: &mut Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// What a run says: `[ 0.12 s] 3 segments, 45678 instructions`.
fn segments_of(said: &str) -> usize {
    let number = said.split(" segments, ").next().and_then(|before| before.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no segments: {said}"))
}

#[test]
fn an_app_proof_that_is_killed_after_each_segment_goes_on() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("resume", ROUNDS);
    let args = prove_args("app", &out);
    let keep: Vec<String> = args.iter().cloned().chain(["--keep-parts".to_owned()]).collect();
    let (mut kills, mut before) = (0, parts(&out));
    loop {
        let (status, said) = until(project, &keep, &out, before.len() + 1, kill);
        let now = parts(&out);
        // what was there is there, untouched; but for the last segment, which is proved again where the public values behind it are missing
        let changed = before.iter().filter(|(path, written)| now.get(*path) != Some(*written)).count();
        assert!(changed <= usize::from(before.len() == segments_of(&said)), "{before:?}, {now:?}: {said}");
        before = now;
        if status.success() {
            assert!(said.matches("its proof was there").count() + 1 >= segments_of(&said), "{said}");
            break;
        }
        kills += 1;
        assert!(kills < 12, "{said}");
    }
    assert!(kills >= 2, "{kills} kills");
    let whole = fs::read(out.join("guest.app.proof")).unwrap();
    // a part that was changed on disk and half of one are made again
    let kept = before.len();
    damage(&part(&out, "segment"));
    halve(before.last_key_value().unwrap().0);
    let said = project.ok(&refs(&args));
    assert!(said["segments"].as_u64().unwrap() > 2 && said["kept"] == kept - 2, "{said}, of {kept}");
    assert!(fs::read(out.join("guest.app.proof")).unwrap() == whole, "the same proof");
    assert!(!out.join("guest.parts").exists());
    project.ok(&["verify", "app", "--proof", "resume/guest.app.proof"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_what_is_under_way_and_twice_leaves() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("stop", ROUNDS);
    let mut args = prove_args("app", &out);
    args.extend(["--parallel", "1", "--traces", "1"].map(String::from));
    let (status, said) = until(project, &args, &out, 1, interrupt);
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("what is under way is finished and kept"), "{said}");
    assert!(said.lines().last().unwrap().contains("run the same command again"), "{said}");
    let kept = parts(&out);
    assert!((1..segments_of(&said)).contains(&kept.len()), "{kept:?}: {said}");
    assert!(!out.join("guest.app.proof").exists());
    // twice: at once, and nothing is lost
    let (status, _) = until(project, &args, &out, kept.len(), |child| {
        while !fs::read_to_string(out.join("said.txt")).unwrap().contains("its proof was there") {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(2));
        }
        interrupt(child);
        interrupt_again(child, &out);
    });
    assert_eq!(status.code(), Some(130));
    assert_eq!(parts(&out), kept);
    // other input has nothing to go on with
    fs::write(out.join("input.json"), input(1)).unwrap();
    assert_eq!(project.ok(&refs(&args))["kept"], 0);
}

/// When the first one has been noticed: two signals at once may be delivered as one.
#[cfg(unix)]
fn interrupt_again(child: &mut Child, out: &Path) {
    while !fs::read_to_string(out.join("said.txt")).unwrap().contains("stopping") {
        std::thread::sleep(Duration::from_millis(2));
    }
    interrupt(child);
}
