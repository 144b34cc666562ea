//! `submit`: plans a proof and hands it to a server.

use std::{fs, path::PathBuf};

use clap::Args;
use openvm_sdk::config::{AggregationSystemParams, AggregationTreeConfig};
use openvm_wgpu_backend::{
    fleet::{
        blobs::{BlobName, Blobs},
        temporal::{Job, CLASSES},
        Graph,
    },
    openvm::{
        jobs::{JobConfig, JobFiles, JobKeys},
        segment_memory,
    },
};
use serde_json::json;

use super::{BlobsArgs, ServerArgs};
use crate::{
    failure::{Failure, Kind, Result},
    files,
    project::{ProjectArgs, CONFIG},
    recording::Recorder,
    session::{caught, DeviceArgs, Speech},
    support::record::parse_bytes,
    watch::Watch,
};

/// Options of `submit`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::SUBMIT)]
pub struct SubmitArgs {
    /// The guest's ELF
    #[arg(value_name = "ELF")]
    elf: PathBuf,
    /// What the guest reads: hexadecimal digits (01 and bytes), or a JSON file {"input": ["01.."]}
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    /// Make one proof of it all, instead of one for each segment
    #[arg(long)]
    aggregate: bool,
    /// What the job is called, by default the guest's name and a hash of what is proved
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// The VM, by default the project's openvm.toml, or RV32IM with input and output
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The least memory budget of the workers that shall prove: segments are cut to fit it; by default that of this machine's device
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT", help_heading = "Proving")]
    worker_memory: Option<u64>,
    /// Most memory for a segment's proof by OpenVM's estimate, as in 4GiB; by default what fits the workers
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT", help_heading = "Proving")]
    segment_max_memory: Option<u64>,
    #[command(flatten)]
    tree: AggregationTreeConfig,
    #[command(flatten)]
    project: ProjectArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    blobs: BlobsArgs,
}

pub fn submit(args: &SubmitArgs, speech: Speech) -> Result<()> {
    // what is missing is said before minutes of work
    let blobs = args.blobs.open()?;
    args.server.server()?;
    let files = plan(args, speech)?;
    let name = args.elf.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let kind = if args.aggregate { "stark" } else { "app" };
    let id = args.id.clone().unwrap_or_else(|| format!("{name}-{kind}-{}", &files.plan.job[..12]));
    let (segments, tasks) = (files.plan.segments.len(), tasks_of(&files)?);
    let instructions: u64 = files.plan.segments.iter().map(|segment| segment.place.instructions).sum();
    let manifest = super::wait(async {
        let client = args.server.client().await?;
        let manifest = write(files, &blobs).await?;
        client.submit(&id, manifest).await?;
        Ok(manifest)
    })?;
    let value = json!({ "ok": true, "command": "submit", "job": id, "manifest": manifest.to_string(),
        "segments": segments, "tasks": tasks, "instructions": instructions });
    let text = format!("{id}\n{instructions} instructions, {segments} segments, {tasks} tasks\n");
    speech.result(value, &format!("{text}follow it: openvm-wgpu watch {id}"))
}

fn tasks_of(files: &JobFiles) -> Result<usize> {
    Ok(Graph::new(&files.plan).map_err(|error| Failure::new(Kind::Internal, error))?.tasks().len())
}

/// Executes the guest on this machine to find its segments.
fn plan(args: &SubmitArgs, speech: Speech) -> Result<JobFiles> {
    let elf =
        fs::read(&args.elf).map_err(|error| Failure::io(format!("cannot read {}", args.elf.display()), &error))?;
    let input = files::read_input(args.input.as_deref())?;
    let project = args.project.find()?;
    let (app, _) = files::read_config(args.config.as_deref(), &project.folder.join(CONFIG))?;
    let watch = Watch::new(speech, Recorder::default());
    let params = app.system_params.clone();
    let config = JobConfig { app, aggregation: AggregationSystemParams::default() };
    let keys = watch.step("generating the app's keys", || JobKeys::new(config))?;
    let device = watch.step("opening the device", || args.device.builder().build(params))?;
    watch.devices(vec![device.gpu().clone()]);
    let budget = args.worker_memory.unwrap_or_else(|| device.gpu().memory_budget());
    let memory = args.segment_max_memory.map_or_else(|| fitting(budget), |bytes| bytes as usize);
    let tree = args.aggregate.then_some(args.tree);
    caught(Kind::Guest, "not a guest for this VM", || {
        let plan = || JobFiles::plan(&device, &keys, elf, &input, Some(memory), tree);
        Ok(watch.step("executing, to find the segments", plan)?)
    })
}

/// The memory of segments whose tasks are in the largest class that workers with this budget look into.
fn fitting(budget: u64) -> usize {
    let room = segment_memory(budget, 1);
    let class = CLASSES.into_iter().rev().map(|class| (class << 30) as usize).find(|class| *class <= room);
    class.unwrap_or(room)
}

/// Writes the job's files and returns its manifest's name.
async fn write(files: JobFiles, blobs: &Blobs) -> Result<BlobName> {
    let JobFiles { elf, config, input, metering, plan } = files;
    let job = Job {
        elf: blobs.put(elf).await?,
        config: blobs.put(config).await?,
        input: blobs.put(input).await?,
        metering: blobs.put(metering).await?,
        plan,
    };
    Ok(job.write(blobs).await?)
}
