//! `verify app` and `verify stark`: upstream's verifier, on the host.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use openvm_circuit::arch::ContinuationVmProof;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    keygen::AppVerifyingKey,
    prover::verify_app_proof,
    types::{AppExecutionCommit, VerificationBaselineJson, VersionedVmStarkProof},
    CpuSdk, OPENVM_VERSION, SC,
};
use openvm_stark_backend::keygen::types::MultiStarkVerifyingKey;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;
use openvm_verify_stark_host::VmStarkProof;
use serde_json::json;

use crate::{
    failure::{Failure, Kind, Result},
    files,
    project::{self, find_proof, ProjectArgs},
    session::{caught, Speech},
    store::hex,
};

/// Which proof.
#[derive(Subcommand, Debug)]
pub enum VerifyCommand {
    /// A proof of each segment (.app.proof)
    App(AppArgs),
    /// One proof of the whole execution (.stark.proof)
    Stark(StarkArgs),
}

/// Options of `verify app`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::VERIFY_APP)]
pub struct AppArgs {
    /// The app's verifying key, by default the project's app.vk
    #[arg(long, value_name = "FILE")]
    app_vk: Option<PathBuf>,
    /// The proof, by default the only .app.proof here
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Check that the proof is one of this program: a .commit.json, by default the project's
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    app_commit: Option<Option<PathBuf>>,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Options of `verify stark`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::VERIFY_STARK)]
pub struct StarkArgs {
    /// The aggregation's verifying key, by default ~/.openvm/internal_recursive.vk
    #[arg(long, value_name = "FILE")]
    agg_vk: Option<PathBuf>,
    /// What the proof must be of: a .baseline.json, by default the project's
    #[arg(long, value_name = "FILE")]
    app_baseline: Option<PathBuf>,
    /// The proof, by default the only .stark.proof here
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    #[command(flatten)]
    project: ProjectArgs,
}

pub fn verify(command: &VerifyCommand, speech: Speech) -> Result<()> {
    match command {
        VerifyCommand::App(args) => app(args, speech),
        VerifyCommand::Stark(args) => stark(args, speech),
    }
}

fn app(args: &AppArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let vk_path = project.key(&args.app_vk, project::APP_VK);
    let advice = "generate it with `openvm-wgpu keygen`, or name it with --app-vk";
    let vk: AppVerifyingKey = files::read_object(&vk_path, "app verifying key", advice)?;
    let path = find_proof(&args.proof, project::APP_PROOF)?;
    let advice = "make it with `openvm-wgpu prove app`, or name it with --proof";
    let proof: ContinuationVmProof<SC> = files::read_object(&path, "app proof", advice)?;
    let expected = match &args.app_commit {
        None => None,
        Some(named) => {
            let path = match named {
                Some(path) => path.clone(),
                None => project.only_commitment(project::COMMIT, "--app-commit FILE")?,
            };
            let commit: AppExecutionCommit =
                files::read_json(&path, "app commitment", "make it with `openvm-wgpu commit`")?;
            Some(commit.app_exe_commit)
        }
    };
    let rejected = format!("{} is rejected", path.display());
    let commit = caught(Kind::Rejected, &rejected, || {
        let verified = verify_app_proof::<BabyBearPoseidon2CpuEngine>(&vk, &proof);
        verified.map_err(|error| Failure::rejected(format!("{rejected}: {error}; is {} its key?", vk_path.display())))
    })?;
    let commit = CommitBytes::from(commit);
    if let Some(expected) = expected.filter(|expected| *expected != commit) {
        let reason = format!("it proves the program {commit}, not {expected}");
        return Err(Failure::rejected(format!("{rejected}: {reason}")));
    }
    let values = hex(&files::bytes_of(&proof.user_public_values.public_values));
    let text = format!("{} holds\nexe commit: {commit}\npublic values: {values}", path.display());
    let value = json!({
        "ok": true, "command": "verify app", "proof": path.to_string_lossy(), "exe_commit": commit.to_string(), "public_values": values,
        "segments": proof.per_segment.len(),
    });
    speech.result(value, &text)
}

fn stark(args: &StarkArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let vk_path = args.agg_vk.clone().map_or_else(|| project::home("internal_recursive.vk"), Ok)?;
    let advice = "generate it with `openvm-wgpu setup`, or name it with --agg-vk";
    let vk: MultiStarkVerifyingKey<SC> = files::read_object(&vk_path, "verifying key of the aggregation", advice)?;
    let baseline_path = match &args.app_baseline {
        Some(path) => path.clone(),
        None => project.only_commitment(project::BASELINE, "--app-baseline")?,
    };
    let advice = "make it with `openvm-wgpu commit`, or name it with --app-baseline";
    let baseline: VerificationBaselineJson = files::read_json(&baseline_path, "baseline", advice)?;
    let path = find_proof(&args.proof, project::STARK_PROOF)?;
    let advice = "make it with `openvm-wgpu prove stark`, or name it with --proof";
    let versioned: VersionedVmStarkProof = files::read_json(&path, "STARK proof", advice)?;
    let version = format!("v{OPENVM_VERSION}");
    if versioned.version != version {
        speech.note(&format!("{} was made by OpenVM {}, this is {version}", path.display(), versioned.version));
    }
    let rejected = format!("{} is rejected", path.display());
    let proof = VmStarkProof::try_from(versioned)
        .map_err(|error| Failure::usage(format!("{} is no whole STARK proof ({error}); {advice}", path.display())))?;
    let exe_commit = baseline.app_exe_commit.to_string();
    caught(Kind::Rejected, &rejected, || {
        CpuSdk::verify_proof(vk, baseline.into(), &proof).map_err(|error| {
            let keys = format!("are {} and {} its own?", vk_path.display(), baseline_path.display());
            Failure::rejected(format!("{rejected}: {error}; {keys}"))
        })
    })?;
    let values = hex(&files::bytes_of(&proof.user_pvs_proof.public_values));
    let text = format!("{} holds\nexe commit: {exe_commit}\npublic values: {values}", path.display());
    let value = json!({
        "ok": true, "command": "verify stark", "proof": path.to_string_lossy(), "exe_commit": exe_commit, "public_values": values,
    });
    speech.result(value, &text)
}
