//! `keygen`, `setup` and `commit`: keys and commitments, where upstream's tool looks for them.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig},
    keygen::{AppProvingKey, AppVerifyingKey},
    types::{AppExecutionCommit, VerificationBaselineJson},
    CpuSdk,
};
use openvm_wgpu_backend::openvm::AggregationProver;
use serde_json::json;

use crate::{
    failure::{Kind, Result},
    files,
    project::{self, ProjectArgs},
    prove::{KeyArgs, Keys},
    recording::Recorder,
    session::{caught, DeviceArgs, Speech},
    watch::Watch,
};

/// Options of `keygen`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::KEYGEN)]
pub struct KeygenArgs {
    /// The file that names the VM's extensions, by default openvm.toml beside Cargo.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also put the keys here
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Only app.pk and app.vk, without the aggregation's agg_prefix.pk
    #[arg(long)]
    app_only: bool,
    #[command(flatten)]
    project: ProjectArgs,
}

pub fn keygen(args: &KeygenArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let (config, found) = files::read_config(args.config.as_deref(), &project.folder.join(project::CONFIG))?;
    if !found {
        speech.note("no openvm.toml: keys of upstream's default VM, RV32IM with input and output");
    }
    let mut folders = vec![project.openvm.clone()];
    folders.extend(args.output_dir.clone());
    for folder in &folders {
        files::writable(&folder.join(project::APP_PK))?;
    }
    let watch = Watch::new(speech, Recorder::default());
    let keys = || {
        let sdk = CpuSdk::new(config, AggregationSystemParams::default())?;
        let (pk, vk) = watch.step("generating the app's keys", || sdk.app_keygen());
        let prefix = (!args.app_only).then(|| watch.step("generating the aggregation's keys", || sdk.agg_prefix_pk()));
        Ok((pk, vk, prefix))
    };
    let (pk, vk, prefix) = caught(Kind::Usage, "no keys for this VM configuration", keys)?;
    let mut written = vec![];
    for folder in &folders {
        let mut write = |name: &str, object: &dyn Fn(&std::path::Path) -> Result<()>| -> Result<()> {
            let path = folder.join(name);
            object(&path)?;
            written.push(path.display().to_string());
            Ok(())
        };
        write(project::APP_PK, &|path| files::write_object(path, &pk))?;
        write(project::APP_VK, &|path| files::write_object(path, &vk))?;
        if let Some(prefix) = &prefix {
            write(project::AGG_PREFIX_PK, &|path| files::write_object(path, prefix))?;
        }
    }
    drop(watch);
    let text = format!("wrote {}", written.join(", "));
    speech.result(json!({ "ok": true, "command": "keygen", "files": written }), &text)
}

/// Options of `setup`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::SETUP)]
pub struct SetupArgs {
    #[command(flatten)]
    device: DeviceArgs,
}

/// The keys of the aggregation's recursive level, which all programs share, in `~/.openvm`.
pub fn setup(args: &SetupArgs, speech: Speech) -> Result<()> {
    let (pk_path, vk_path) = (project::home("internal_recursive.pk")?, project::home("internal_recursive.vk")?);
    files::writable(&pk_path)?;
    let watch = Watch::new(speech, Recorder::default());
    let gpu = watch.step("opening the device", || args.device.open(false))?;
    watch.devices(vec![gpu]);
    let app = caught(Kind::Internal, "no keys for upstream's default VM", || {
        let pk = watch.step("generating the app's keys", || AppProvingKey::keygen(files::default_config()));
        Ok(pk.map_err(openvm_circuit::arch::VirtualMachineError::from)?)
    })?;
    let prover = caught(Kind::Device, "the device could not make the aggregation's keys", || {
        let AppVerifyingKey { vk, .. } = app.get_app_vk();
        let (params, tree) = (AggregationSystemParams::default(), AggregationTreeConfig::default());
        Ok(watch.step("generating the aggregation's keys", || AggregationProver::new(Arc::new(vk), &params, tree)))
    })?;
    files::write_object(&pk_path, &prover.proving_key().internal_recursive)?;
    files::write_object(&vk_path, &prover.verifying_key())?;
    drop(watch);
    let written = [pk_path.display().to_string(), vk_path.display().to_string()];
    let text = format!("wrote {}", written.join(", "));
    speech.result(json!({ "ok": true, "command": "setup", "files": written }), &text)
}

/// Options of `commit`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::COMMIT)]
pub struct CommitArgs {
    /// The guest: a program of OpenVM (.vmexe) or its ELF
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    /// Also put the commitments here
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn commit(args: &CommitArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let exe = project.program(&args.exe)?;
    let [commits, baselines] = [project::COMMIT, project::BASELINE].map(|extension| {
        let path = project.commitment(&exe, extension);
        let copy = args.output_dir.as_ref().map(|folder| folder.join(path.file_name().unwrap_or_default()));
        [Some(path), copy].into_iter().flatten().collect::<Vec<_>>()
    });
    commits.iter().chain(&baselines).try_for_each(|path| files::writable(path))?;
    let watch = Watch::new(speech, Recorder::default());
    let keys = Keys::read(&args.keys, &project)?;
    let guest = files::read_guest(&exe)?;
    let gpu = watch.step("opening the device", || args.device.open(false))?;
    watch.devices(vec![gpu]);
    let (_, app) = keys.app_prover(guest, &watch)?;
    let aggregation = keys.aggregation(AggregationTreeConfig::default(), &watch)?;
    let baseline = aggregation.baseline(&app);
    let commit = AppExecutionCommit {
        app_exe_commit: CommitBytes::from(baseline.app_exe_commit),
        app_vm_commit: CommitBytes::from(aggregation.app_vm_commit()),
    };
    let baseline = VerificationBaselineJson::from(baseline);
    commits.iter().try_for_each(|path| files::write_json(path, &commit))?;
    baselines.iter().try_for_each(|path| files::write_json(path, &baseline))?;
    drop(watch);
    let written: Vec<_> = commits.iter().chain(&baselines).map(|path| path.display().to_string()).collect();
    let (exe, vm) = (commit.app_exe_commit.to_string(), commit.app_vm_commit.to_string());
    let text = format!("exe commit: {exe}\nvm commit: {vm}\nwrote {}", written.join(", "));
    let value = json!({ "ok": true, "command": "commit", "exe_commit": exe, "vm_commit": vm, "files": written });
    speech.result(value, &text)
}
