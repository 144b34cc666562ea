//! Proves keccak-f permutations (or another workload) on the GPU, verifies the proofs with upstream's verifier, and says how long everything
//! took. The program `openvm-wgpu` has the same as `bench proofs`.
//!
//!     cargo run --release --example keccakf
//!     cargo run --release --example keccakf -- --help

// `compare` is not for this example
#[allow(dead_code)]
mod support;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

/// Prove keccak-f permutations, or another workload, on the GPU.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    proofs: support::proofs::ProofArgs,
}

fn main() -> ExitCode {
    // the option's first name, which the program has for something else
    let command = Args::command().mut_arg("records", |records| records.visible_alias("json"));
    let args = Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    match support::proofs::run(&args.proofs, support::spans::Voice::FULL) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
