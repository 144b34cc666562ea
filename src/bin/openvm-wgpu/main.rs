//! `openvm-wgpu`: keys, proofs and verification of OpenVM's guests on any GPU, with the files of upstream's `cargo openvm`.
//!
//! `docs/cli.md` is its guide.

mod bench;
mod devices;
mod doctor;
mod execute;
mod failure;
mod files;
#[cfg(feature = "fleet")]
mod fleet;
mod keygen;
mod manual;
mod metrics;
mod project;
mod prove;
mod recording;
mod report;
mod session;
mod stop;
mod store;
mod trace;
mod usage;
mod verify;
mod watch;
// what the examples use is not all for this program
#[allow(dead_code)]
#[path = "../../../examples/support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Kind;
use session::{caught, keep_panics, Speech};

/// Prove OpenVM programs on any GPU.
#[derive(Parser, Debug)]
#[command(name = "openvm-wgpu", version, after_help = usage::PROGRAM, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    speech: Speech,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say which GPUs there are, what is missing, and prove something small
    Doctor(doctor::DoctorArgs),
    /// Generate the app's and the aggregation's keys
    Keygen(keygen::KeygenArgs),
    /// Generate the keys that all programs share, in ~/.openvm
    Setup(keygen::SetupArgs),
    /// Write the commitments that verifiers know a program by
    Commit(keygen::CommitArgs),
    /// Execute a guest
    #[command(visible_alias = "run")]
    Execute(execute::ExecuteArgs),
    /// Say what proving an execution would need: instructions, segments, cells, memory
    Meter(execute::MeterArgs),
    /// Prove an execution
    #[command(subcommand)]
    Prove(Box<prove::ProveCommand>),
    /// Verify a proof
    #[command(subcommand)]
    Verify(verify::VerifyCommand),
    /// Measure proofs of known workloads
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Make a page of what `prove --record` recorded
    Report(report::ReportArgs),
    #[cfg(feature = "fleet")]
    #[command(flatten)]
    Fleet(fleet::FleetCommand),
    /// Print completions for a shell
    Completions(manual::CompletionArgs),
    /// Print the manual page
    Man,
}

fn main() -> ExitCode {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Vulkan drivers look for a window system there, which nobody needs here, and complain. No other thread runs yet.
        std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::refused(&error),
    };
    keep_panics();
    let speech = cli.speech;
    match caught(Kind::Internal, "a bug", || run(cli.command, speech)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            speech.failure(&failure);
            ExitCode::from(failure.kind as u8)
        }
    }
}

fn run(command: Command, speech: Speech) -> failure::Result<()> {
    match command {
        Command::Doctor(args) => doctor::doctor(&args, speech),
        Command::Keygen(args) => keygen::keygen(&args, speech),
        Command::Setup(args) => keygen::setup(&args, speech),
        Command::Commit(args) => keygen::commit(&args, speech),
        Command::Execute(args) => execute::execute(&args, speech),
        Command::Meter(args) => execute::meter(&args, speech),
        Command::Prove(command) => prove::prove(&command, speech),
        Command::Verify(command) => verify::verify(&command, speech),
        Command::Bench(command) => bench::bench(&command, speech),
        Command::Report(args) => report::report(&args, speech),
        #[cfg(feature = "fleet")]
        Command::Fleet(command) => fleet::run(&command, speech),
        Command::Completions(args) => manual::completions(&args, speech),
        Command::Man => manual::man(speech),
    }
}
