//! A network of a test's own: two hosts, and a wire between them that can be cut. Takes unshare, nsenter and iproute2, and no rights.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::processes::Process;

/// Where this host is.
pub const HERE: &str = "10.0.0.1";
const THERE: &str = "10.0.0.2";

/// Set for what runs in such a network.
const INSIDE: &str = "OPENVM_WGPU_TEST_NETWORK";

/// Whether this process has a network of its own; if not, runs the test `name` in a process that has.
pub fn is_own(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--net", "--"]).arg(std::env::current_exe().unwrap());
    let status = again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{name} in a network of its own: {status}");
    false
}

fn ip(mut command: Command, arguments: &str) {
    let output = command.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// The other host.
pub struct Host {
    /// Has its network for as long as it waits for input.
    holder: Process,
}

impl Host {
    pub fn new() -> Self {
        ip(Command::new("ip"), "link set lo up");
        let holder = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let host = Self { holder: Process(holder) };
        while fs::read_link(host.namespace()).unwrap() == fs::read_link("/proc/self/ns/net").unwrap() {
            sleep(Duration::from_millis(10));
        }
        ip(Command::new("ip"), &format!("link add here type veth peer name there netns {}", host.holder.id()));
        for (command, end, address) in [(Command::new("ip"), "here", HERE), (host.command("ip"), "there", THERE)] {
            ip(command, &format!("address add {address}/24 dev {end}"));
        }
        ip(Command::new("ip"), "link set here up");
        host.wire("up");
        host
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program that runs there, as a child of this process.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([format!("--net={}", self.namespace()).as_str(), "--", program]);
        command
    }

    /// At the other host's end, since this one's address goes with its own.
    fn wire(&self, state: &str) {
        ip(self.command("ip"), &format!("link set there {state}"));
    }

    pub fn cut(&self) {
        self.wire("down");
    }

    pub fn mend(&self) {
        self.wire("up");
    }
}
