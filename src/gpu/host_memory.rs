//! How much of the host's memory a process may have: what is there, what its control groups leave of it, and its own limit.
//!
//! A control group's limit holds for all below it, and a container may or may not see the groups above its own, so the whole path is read.
//! Crates that know control groups read one fixed file of a container's own group, and miss the nested ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes that this process may have at most, where that is easy to know.
pub(super) fn usable() -> Option<u64> {
    if cfg!(target_os = "macos") {
        return sysctl();
    }
    usable_below(Path::new("/"))
}

fn sysctl() -> Option<u64> {
    let output = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The same with the files of Linux below `root`.
fn usable_below(root: &Path) -> Option<u64> {
    let limits = control_groups(root).into_iter().chain(address_space(root));
    meminfo(root, "MemTotal:").into_iter().chain(limits).min()
}

/// Bytes that the host has left, within what this process may have, where that is easy to know.
#[cfg(feature = "openvm")]
pub(crate) fn available() -> Option<u64> {
    let root = Path::new("/");
    meminfo(root, "MemAvailable:").into_iter().chain(usable_below(root)).min()
}

/// Bytes that a line of `/proc/meminfo` says.
fn meminfo(root: &Path, line: &str) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find(|found| found.starts_with(line))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// `ulimit -v`, which bounds what a driver on the host can have.
fn address_space(root: &Path) -> Option<u64> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max address space"))?;
    line.trim_start_matches("Max address space").split_whitespace().next()?.parse().ok()
}

/// A hierarchy of control groups that is mounted.
struct Mount {
    /// The group that the mount point stands for.
    group: PathBuf,
    point: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    V1,
    V2,
}

impl Version {
    /// Files with a limit of a group's memory; who is above `memory.high` is slowed down until he hardly moves.
    fn files(self) -> &'static [&'static str] {
        match self {
            Version::V1 => &["memory.limit_in_bytes"],
            Version::V2 => &["memory.max", "memory.high"],
        }
    }
}

/// The limits of this process's groups and of all above them that can be seen.
fn control_groups(root: &Path) -> Vec<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mut limits = vec![];
    for mount in mounts.lines().filter_map(memory_mount) {
        let own = groups.lines().find_map(|line| group_of(line, mount.version));
        // where the group lies outside of what is mounted, the mount point is the container's own
        let below = own.as_deref().and_then(|group| group.strip_prefix(&mount.group).ok()).unwrap_or(Path::new(""));
        let point = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
        for group in below.ancestors() {
            let read = |file: &&str| fs::read_to_string(point.join(group).join(file)).ok()?.trim().parse::<u64>().ok();
            limits.extend(mount.version.files().iter().filter_map(read));
        }
    }
    limits
}

/// A line of `/proc/self/mountinfo`, if it mounts groups that limit memory: fields, a dash, type, source, options.
fn memory_mount(line: &str) -> Option<Mount> {
    let (fields, kind) = line.split_once(" - ")?;
    let mut kind = kind.split_whitespace();
    let version = match kind.next()? {
        "cgroup2" => Version::V2,
        "cgroup" if kind.nth(1)?.split(',').any(|option| option == "memory") => Version::V1,
        _ => return None,
    };
    let mut fields = fields.split_whitespace().skip(3);
    Some(Mount { group: fields.next()?.into(), point: unescaped(fields.next()?).into(), version })
}

/// The kernel writes blanks and backslashes of paths as octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

/// The group that a line of `/proc/self/cgroup` names, if it is of this version: number, controllers (none in version 2), path.
fn group_of(line: &str, version: Version) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let matches = match version {
        Version::V1 => controllers.split(',').any(|controller| controller == "memory"),
        Version::V2 => controllers.is_empty(),
    };
    matches.then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::Folder;

    const MIB: u64 = 1 << 20;
    const V2: &str = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      34 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    /// A host of 1 GiB with these files.
    fn usable_with(files: &[(&str, &str)]) -> Option<u64> {
        let folder = Folder::new("host-memory");
        for (path, text) in [("proc/meminfo", "MemFree: 7 kB\nMemTotal:  1048576 kB\n")].iter().chain(files) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        usable_below(folder.path())
    }

    #[test]
    fn without_limits_it_is_the_hosts() {
        assert_eq!(usable_with(&[]), Some(1024 * MIB));
        let unlimited = [
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("proc/self/limits", "Max address space         unlimited            unlimited            bytes\n"),
        ];
        assert_eq!(usable_with(&unlimited), Some(1024 * MIB));
        let v1 = [("proc/self/mountinfo", V1), ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(usable_with(&v1), Some(1024 * MIB));
        assert_eq!(usable_below(Path::new("/does/not/exist")), None);
        assert!(usable().is_none_or(|bytes| bytes > 0));
    }

    #[test]
    fn the_smallest_limit_above_a_group_counts() {
        let limits = |own: &str, outer: &str, file: &str| {
            usable_with(&[
                ("proc/self/cgroup", "0::/outer/own\n"),
                ("proc/self/mountinfo", V2),
                (&format!("sys/fs/cgroup/outer/own/{file}"), own),
                ("sys/fs/cgroup/outer/memory.max", outer),
            ])
        };
        assert_eq!(limits("419430400\n", "max\n", "memory.max"), Some(400 * MIB));
        assert_eq!(limits("max\n", "419430400\n", "memory.max"), Some(400 * MIB));
        assert_eq!(limits("524288000\n", "419430400\n", "memory.max"), Some(400 * MIB));
        assert_eq!(limits("209715200\n", "419430400\n", "memory.high"), Some(200 * MIB));
    }

    #[test]
    fn groups_of_the_first_version() {
        let own = ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "419430400\n");
        let outer = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "314572800\n");
        let files = [("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a/b\n"), ("proc/self/mountinfo", V1)];
        assert_eq!(usable_with(&[files[0], files[1], own]), Some(400 * MIB));
        assert_eq!(usable_with(&[files[0], files[1], own, outer]), Some(300 * MIB));
    }

    /// A container sees its own group as the mount point, and in `/proc/self/cgroup` the path of the host or that within its namespace.
    #[test]
    fn groups_of_containers() {
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "419430400\n");
        let mounted = "33 25 0:29 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for own in ["4:memory:/docker/4f\n", "4:memory:/\n", "4:memory:/elsewhere\n"] {
            assert_eq!(
                usable_with(&[("proc/self/cgroup", own), ("proc/self/mountinfo", mounted), limit]),
                Some(400 * MIB)
            );
        }
        let nested = ("sys/fs/cgroup/memory/n/memory.limit_in_bytes", "104857600\n");
        let own = ("proc/self/cgroup", "4:memory:/docker/4f/n\n");
        assert_eq!(usable_with(&[own, ("proc/self/mountinfo", mounted), limit, nested]), Some(100 * MIB));
    }

    #[test]
    fn limits_of_the_process() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space         314572800            unlimited            bytes\n";
        assert_eq!(usable_with(&[("proc/self/limits", limits)]), Some(300 * MIB));
    }
}
