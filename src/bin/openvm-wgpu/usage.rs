//! What is said about wrong options, and the examples of each command's help.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    failure::{Failure, Kind},
    session::{self, Speech},
};

pub const PROGRAM: &str = "\
Examples:
  openvm-wgpu doctor                                     is there a GPU, and does it prove?
  openvm-wgpu keygen --config openvm.toml                keys, into openvm/
  openvm-wgpu execute --exe guest.elf --input 01c0ffee   public values
  openvm-wgpu meter --exe guest.elf                      what proving would need
  openvm-wgpu prove app --exe guest.elf                  guest.app.proof
  openvm-wgpu verify app                                 upstream's verifier
  openvm-wgpu prove stark --exe guest.elf                one proof of it all

Exit codes:
  0 done; 1 a proof is rejected; 2 options or files; 3 the guest failed; 4 the device failed;
  5 stopped as asked, run it again; 70 a bug";

pub const DOCTOR: &str = "\
Examples:
  openvm-wgpu doctor                     all adapters, and a proof on the one that is chosen by default
  openvm-wgpu doctor --adapter '#1'      a proof on the adapter of this number
  openvm-wgpu doctor --json | jq .       for machines";

pub const KEYGEN: &str = "\
Examples:
  openvm-wgpu keygen                                     with the openvm.toml beside Cargo.toml
  openvm-wgpu keygen --config openvm.toml --app-only     without the aggregation's key, for `prove app`
  openvm-wgpu keygen --output-dir keys                   and a copy in keys/";

pub const SETUP: &str = "\
Examples:
  openvm-wgpu setup                      once for all programs: ~/.openvm/internal_recursive.pk and .vk
  HOME=/srv/keys openvm-wgpu setup       the same into /srv/keys/.openvm";

pub const COMMIT: &str = "\
Examples:
  openvm-wgpu commit --exe guest.elf                     openvm/release/guest.commit.json and .baseline.json
  openvm-wgpu commit --exe guest.elf --output-dir out    and a copy in out/";

pub const EXECUTE: &str = "\
Examples:
  openvm-wgpu execute --exe guest.elf --input 01c0ffee          the guest reads three bytes
  openvm-wgpu execute --exe guest.vmexe --input input.json      {\"input\": [\"01c0ffee\", \"02d2040000\"]}";

pub const METER: &str = "\
Examples:
  openvm-wgpu meter --exe guest.elf --input input.json          segments, cells and memory for several budgets
  openvm-wgpu meter --exe guest.elf --budget 6GiB,12GiB         for these
  openvm-wgpu meter --exe guest.elf --memory-budget 6GiB        as `prove --memory-budget 6GiB` would cut them";

pub const PROVE_APP: &str = "\
Examples:
  openvm-wgpu prove app --exe guest.elf --input input.json      guest.app.proof
  openvm-wgpu prove app --exe guest.elf --memory-budget 6GiB    on a device that others use, too
  openvm-wgpu prove app --exe guest.elf --trace trace.json      and a trace for https://ui.perfetto.dev

The same command goes on where an earlier run ended.";

pub const PROVE_STARK: &str = "\
Examples:
  openvm-wgpu prove stark --exe guest.elf --input input.json    guest.stark.proof and openvm/release/guest.baseline.json
  openvm-wgpu prove stark --bin guest                           openvm/release/guest.vmexe, of `cargo openvm build`
  openvm-wgpu prove stark --exe guest.elf --record run.json     and a record for `openvm-wgpu report`

The same command goes on where an earlier run ended.";

pub const VERIFY_APP: &str = "\
Examples:
  openvm-wgpu verify app                                        the only .app.proof here, with the project's app.vk
  openvm-wgpu verify app --proof guest.app.proof --app-vk openvm/app.vk
  openvm-wgpu verify app --app-commit guest.commit.json         and that it is this program's";

pub const VERIFY_STARK: &str = "\
Examples:
  openvm-wgpu verify stark                                      the only .stark.proof here
  openvm-wgpu verify stark --proof guest.stark.proof --app-baseline openvm/release/guest.baseline.json";

pub const BENCH: &str = "\
Examples:
  openvm-wgpu bench proofs                                      1,024 permutations of keccak-f
  openvm-wgpu bench proofs --workload vm --log-perms 12 --json
  openvm-wgpu bench compare --peer ../peer/target/release/peer  each workload here and there";

pub const REPORT: &str = "\
Examples:
  openvm-wgpu report run.json                                   report.html, of `prove .. --record run.json`
  openvm-wgpu report run.json --baseline before.json --output compared.html";

pub const COMPLETIONS: &str = "\
Examples:
  openvm-wgpu completions bash > ~/.local/share/bash-completion/completions/openvm-wgpu
  openvm-wgpu completions zsh > ~/.zfunc/_openvm-wgpu
  openvm-wgpu completions fish > ~/.config/fish/completions/openvm-wgpu.fish";

/// Help and versions as they are; what is wrong about options in one line.
pub fn refused(error: &clap::Error) -> ExitCode {
    let shown = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if shown {
        let refused = ExitCode::from(Kind::Usage as u8);
        if error.use_stderr() {
            // nobody could be told
            let _ = error.print();
            return refused;
        }
        let printed = session::printed(error.print());
        return printed.map_or_else(
            |failure| {
                Speech { json: false, quiet: false }.failure(&failure);
                refused
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let text = error.to_string();
    let what = text.strip_prefix("error: ").unwrap_or(&text).split("\n\nUsage").next().unwrap_or_default();
    let what = what.split("\n\nFor more").next().unwrap_or_default();
    let failure = match upstreams(error) {
        Some((name, advice)) => Failure::usage(format!("this program has no {name}: {advice}")),
        None => Failure::usage(format!("{what}; see --help")),
    };
    let json = std::env::args_os().any(|argument| argument == "--json");
    Speech { json, quiet: false }.failure(&failure);
    ExitCode::from(Kind::Usage as u8)
}

const BUILDS: &str = "`cargo openvm build` makes guests; name one with --exe, or with --bin or --example";
const EVM: &str = "proofs for Ethereum are made by `cargo openvm setup --evm` and `cargo openvm prove evm`";

/// What `cargo openvm` has and this program does not, and what to do instead.
const UPSTREAMS: [(&[&str], &str); 7] = [
    (&["build", "init", "-p", "--package", "-F", "--features", "--all-features", "--no-default-features"], BUILDS),
    (&["--init-file-name", "--ignore-rust-version", "--locked", "--offline", "--frozen"], BUILDS),
    (
        &["--config", "--output-dir"],
        "`keygen --config` says which VM, and `cargo openvm build` and --proof say where files go",
    ),
    (&["evm", "--evm", "--root-pk", "--halo2-pk", "--evm-verifier", "--download"], EVM),
    (&["--mode"], "`openvm-wgpu meter` says instructions, segments and cells"),
    (&["--force"], "`setup` always generates keys anew"),
    (
        &["-v", "--verbose", "--color"],
        "`prove` says what it does, unless --quiet is given; RUST_LOG=info has more in --trace",
    ),
];

/// An option or a command of `cargo openvm`, which people may bring along.
fn upstreams(error: &clap::Error) -> Option<(&str, &'static str)> {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(name)) = error.get(kind) else { return None };
    let known = UPSTREAMS.iter().find(|(names, _)| names.contains(&name.as_str()));
    known.map(|(_, advice)| (name.as_str(), *advice))
}
