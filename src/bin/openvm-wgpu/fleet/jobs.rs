//! `status`, `watch`, `fetch` and `cancel`: what has become of a job.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use openvm_circuit::arch::ContinuationVmProof;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    prover::verify_app_proof,
    types::{VerificationBaselineJson, VersionedVmStarkProof},
    SC,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;
use openvm_verify_stark_host::VmStarkProof;
use openvm_wgpu_backend::{
    fleet::{
        blobs::Blobs,
        temporal::{Client, Job, JobState, JobStatus, Outcome},
    },
    openvm::{
        jobs::{app_proof, stark_proof, JobKeys},
        AppProver, WgpuSdk,
    },
};
use serde_json::{json, Value};

use super::{BlobsArgs, ServerArgs};
use crate::{
    failure::{Failure, Kind, Result},
    files,
    project::{APP_PROOF, BASELINE, STARK_PROOF},
    session::{caught, DeviceArgs, Speech},
    store::hex,
};

/// How often `watch` asks.
const OFTEN: Duration = Duration::from_secs(1);

/// A job, and where it is known.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The job, as `submit` calls it
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Options of `status`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::STATUS)]
pub struct StatusArgs {
    #[command(flatten)]
    job: JobArgs,
}

/// Options of `watch`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::WATCH)]
pub struct WatchArgs {
    #[command(flatten)]
    job: JobArgs,
}

/// Options of `cancel`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::CANCEL)]
pub struct CancelArgs {
    #[command(flatten)]
    job: JobArgs,
}

/// Options of `fetch`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::FETCH)]
pub struct FetchArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Where the proof goes, by default JOB.app.proof or JOB.stark.proof here
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    blobs: BlobsArgs,
}

pub fn status(args: &StatusArgs, speech: Speech) -> Result<()> {
    let JobArgs { job, server } = &args.job;
    let status = super::wait(async { Ok(server.client().await?.status(job).await?) })?;
    speech.result(to_json("status", job, &status), &to_text(&status))
}

pub fn watch(args: &WatchArgs, speech: Speech) -> Result<()> {
    let JobArgs { job, server } = &args.job;
    let status = super::wait(async {
        let client = server.client().await?;
        let mut last = String::new();
        loop {
            let status = client.status(job).await?;
            let line = line(&status);
            if line != last {
                speech.note(&line);
            }
            last = line;
            match status.state {
                JobState::Running => tokio::time::sleep(OFTEN).await,
                JobState::Done => return Ok(status),
                JobState::Failed | JobState::Cancelled => client.wait(job).await.map(|_| ())?,
            }
        }
    })?;
    speech.result(to_json("watch", job, &status), &to_text(&status))
}

pub fn cancel(args: &CancelArgs, speech: Speech) -> Result<()> {
    let JobArgs { job, server } = &args.job;
    super::wait(async { Ok(server.client().await?.cancel(job).await?) })?;
    speech.result(json!({ "ok": true, "command": "cancel", "job": job }), &format!("{job} ends"))
}

fn name_of(state: JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// How long it may take still, at the pace so far.
fn seconds_left(status: &JobStatus) -> Option<f64> {
    let known = status.state == JobState::Running && status.done > 0;
    known.then(|| status.elapsed.as_secs_f64() * (status.tasks.saturating_sub(status.done)) as f64 / status.done as f64)
}

fn to_json(command: &str, job: &str, status: &JobStatus) -> Value {
    json!({
        "ok": true, "command": command, "job": job, "state": name_of(status.state),
        "answered": status.answered, "tasks": status.tasks, "done": status.done, "segments": status.segments,
        "refused": status.refused, "workers": status.workers, "seconds": status.elapsed.as_secs_f64(), "seconds_left": seconds_left(status),
    })
}

fn line(status: &JobStatus) -> String {
    let left = seconds_left(status).map_or(String::new(), |seconds| format!(", about {seconds:.0} s left"));
    let (state, segments) = (name_of(status.state), status.segments);
    if !status.answered {
        return format!("{state}: no worker says how far it is");
    }
    format!("{state}: {} of {} tasks, {segments} segments proved{left}", status.done, status.tasks)
}

fn to_text(status: &JobStatus) -> String {
    let mut text = format!("{}, {:.0} s\n", line(status), status.elapsed.as_secs_f64());
    for (worker, tasks) in &status.workers {
        text += &format!("{tasks:>8} tasks by {worker}\n");
    }
    if status.refused > 0 {
        text += &format!("{} results were refused and made again\n", status.refused);
    }
    text
}

/// A job's result, with what it is of.
struct Fetched {
    job: Job,
    elf: Vec<u8>,
    config: Vec<u8>,
    outcome: Outcome,
}

pub fn fetch(args: &FetchArgs, speech: Speech) -> Result<()> {
    let JobArgs { job, server } = &args.job;
    let blobs = args.blobs.open()?;
    let (fetched, results) = super::wait(async {
        let outcome = server.client().await?.wait(job).await?;
        let described = Job::read(outcome.manifest, &blobs).await?;
        let (elf, config) = (blobs.get(described.elf).await?, blobs.get(described.config).await?);
        let results = results(&described, &outcome, &blobs).await?;
        Ok((Fetched { job: described, elf, config, outcome }, results))
    })?;
    let extension = if fetched.job.plan.aggregated { STARK_PROOF } else { APP_PROOF };
    let path = args.proof.clone().unwrap_or_else(|| PathBuf::from(format!("{job}.{extension}")));
    files::writable(&path)?;
    let mut value = json!({ "ok": true, "command": "fetch", "job": job, "proof": path,
        "manifest": fetched.outcome.manifest.to_string(), "segments": fetched.job.plan.segments.len() });
    let text = match fetched.job.plan.aggregated {
        true => fetched.stark(args, &results, &path, &mut value)?,
        false => fetched.app(args, &results, &path, &mut value)?,
    };
    speech.result(value, &format!("{text}wrote {}, verified", path.display()))
}

/// The segments' results, or the root's and the last segment's.
async fn results(job: &Job, outcome: &Outcome, blobs: &Blobs) -> Result<Vec<Vec<u8>>> {
    Ok(match job.plan.aggregated {
        true => vec![blobs.get(outcome.proof).await?, Client::last_segment(outcome, blobs).await?],
        false => Client::segments(outcome, blobs).await?,
    })
}

fn rejected(reason: impl std::fmt::Display) -> Failure {
    Failure::rejected(format!("the proof that was fetched is rejected: {reason}"))
}

impl Fetched {
    /// The job's keys, and its program on this machine's device.
    fn prover(&self, args: &FetchArgs) -> Result<(JobKeys, AppProver)> {
        let keys = JobKeys::from_bytes(&self.config)?;
        let device = args.device.builder().build(keys.config().app.system_params.clone())?;
        let prover = caught(Kind::Guest, "not a guest for this VM", || Ok(keys.prover(&device, &self.elf)?))?;
        Ok((keys, prover))
    }

    fn app(&self, args: &FetchArgs, results: &[Vec<u8>], path: &Path, value: &mut Value) -> Result<String> {
        let proof: ContinuationVmProof<SC> = app_proof(results).map_err(rejected)?;
        let (keys, prover) = self.prover(args)?;
        let verify = || verify_app_proof::<BabyBearPoseidon2CpuEngine>(keys.app_vk(), &proof).map_err(rejected);
        if caught(Kind::Rejected, "the proof that was fetched is rejected", verify)? != prover.exe_commit() {
            return Err(rejected("it is one of another program"));
        }
        files::write_object(path, &proof)?;
        Ok(stated(value, &prover, &files::bytes_of(&proof.user_public_values.public_values)))
    }

    fn stark(&self, args: &FetchArgs, results: &[Vec<u8>], path: &Path, value: &mut Value) -> Result<String> {
        let proof: VmStarkProof = stark_proof(&results[0], &results[1]).map_err(rejected)?;
        let (keys, prover) = self.prover(args)?;
        let aggregation = keys.aggregation(prover.device())?;
        let baseline = aggregation.baseline(&prover);
        let vk = aggregation.verifying_key().as_ref().clone();
        let verify = || WgpuSdk::verify_proof(vk, baseline.clone(), &proof).map_err(rejected);
        caught(Kind::Rejected, "the proof that was fetched is rejected", verify)?;
        let beside = path.with_extension("").with_extension(BASELINE);
        files::write_json(&beside, &VerificationBaselineJson::from(baseline))?;
        let values = files::bytes_of(&proof.user_pvs_proof.public_values);
        files::write_json(path, &VersionedVmStarkProof::new(proof)?)?;
        value["baseline"] = json!(beside);
        value["vm_commit"] = json!(CommitBytes::from(aggregation.app_vm_commit()).to_string());
        Ok(stated(value, &prover, &values))
    }
}

/// What the proof says, for people and in the object.
fn stated(value: &mut Value, prover: &AppProver, public_values: &[u8]) -> String {
    let commit = CommitBytes::from(prover.exe_commit()).to_string();
    value["exe_commit"] = json!(commit);
    value["public_values"] = json!(hex(public_values));
    format!("exe commit: {commit}\npublic values: {}\n", hex(public_values))
}
