//! `bench`: proofs of known workloads, and a comparison with a peer.

use clap::Subcommand;
use openvm_wgpu_backend::Error;
use serde_json::{json, Value};

use crate::{
    failure::{Failure, Kind, Result},
    session::{caught, Speech},
    support::{
        compare::{self, CompareArgs, Driver, DriverFailed},
        proofs::{self, median_prove_ms, ProofArgs},
        record::ProofRecord,
        runner::Rejected,
        spans::Voice,
    },
};

/// What is measured.
#[derive(Subcommand, Debug)]
#[command(after_help = crate::usage::BENCH)]
pub enum BenchCommand {
    /// Prove keccak-f permutations, or another workload
    Proofs(ProofArgs),
    /// Prove each workload here and with a peer, and print the ratios
    Compare(CompareArgs),
}

pub fn bench(command: &BenchCommand, speech: Speech) -> Result<()> {
    let voice = Voice { results: !speech.json && !speech.quiet, progress: !speech.quiet };
    let value = caught(Kind::Internal, "a bug", || measure(command, voice).map_err(failure))?;
    speech.result(value, "")
}

fn measure(command: &BenchCommand, voice: Voice) -> eyre::Result<Value> {
    Ok(match command {
        BenchCommand::Proofs(args) => {
            let records = proofs::run(args, voice)?;
            let proofs: Vec<_> = records.iter().map(ProofRecord::to_json).collect();
            json!({ "ok": true, "command": "bench proofs", "median_ms": median_prove_ms(&records), "proofs": proofs })
        }
        BenchCommand::Compare(args) => {
            let arguments: &[&str] = match voice {
                Voice { progress: false, .. } => &["bench", "proofs", "--quiet"],
                _ => &["bench", "proofs"],
            };
            let driver = Driver { program: std::env::current_exe()?, arguments };
            let workloads = compare::run(args, &driver, voice)?;
            json!({ "ok": true, "command": "bench compare", "workloads": workloads })
        }
    })
}

/// Whose fault it was: of the device, a proof or, as most are, of options and files.
fn failure(error: eyre::Report) -> Failure {
    let text = format!("{error:#}");
    if let Some(failed) = error.downcast_ref::<DriverFailed>() {
        let kinds = [Kind::Rejected, Kind::Usage, Kind::Device];
        let kind = kinds.into_iter().find(|kind| Some(*kind as i32) == failed.code);
        return Failure::new(kind.unwrap_or(Kind::Internal), text);
    }
    if error.downcast_ref::<Rejected>().is_some() {
        return Failure::rejected(text);
    }
    match error.downcast::<Error>() {
        Ok(error @ (Error::InvalidInput(_) | Error::Unsupported(_))) => Failure::usage(error),
        Ok(error) => error.into(),
        Err(_) => Failure::usage(text),
    }
}
