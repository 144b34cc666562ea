//! `execute` and `meter`: what a guest does and would cost, before anything is proved.

use std::path::PathBuf;

use clap::Args;
use openvm_sdk::{config::AggregationSystemParams, CpuSdk};
use openvm_wgpu_backend::openvm::{segment_memory, MeteredSegment};
use serde_json::{json, Value};

use crate::{
    failure::{Kind, Result},
    files,
    project::{self, ProjectArgs},
    prove::Keys,
    recording::Recorder,
    session::{caught, DeviceArgs, Speech},
    store::hex,
    support::record::{bytes, parse_bytes},
    watch::Watch,
};

/// Options of `execute`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::EXECUTE)]
pub struct ExecuteArgs {
    /// The guest: a program of OpenVM (.vmexe) or its ELF; by default the project's only one
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    /// What the guest reads: hexadecimal digits (01 and bytes), or a JSON file {"input": ["01.."]}
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    /// The file that names the VM's extensions, by default openvm.toml beside Cargo.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    project: ProjectArgs,
}

pub fn execute(args: &ExecuteArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let exe = project.program(&args.exe)?;
    let (config, found) = files::read_config(args.config.as_deref(), &project.folder.join(project::CONFIG))?;
    if !found {
        speech.note("no openvm.toml: upstream's default VM, RV32IM with input and output");
    }
    let guest = files::read_guest(&exe)?;
    let input = files::read_input(args.input.as_deref())?;
    let watch = Watch::new(speech, Recorder::default());
    let values = caught(Kind::Guest, "this is no guest for this VM", || {
        let sdk = CpuSdk::new(config, AggregationSystemParams::default())?;
        Ok(watch.step("executing", || sdk.execute(guest, input))?)
    })?;
    drop(watch);
    let text = format!("public values: {}", hex(&values));
    speech.result(json!({ "ok": true, "command": "execute", "public_values": hex(&values) }), &text)
}

/// Options of `meter`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::METER)]
pub struct MeterArgs {
    /// The guest: a program of OpenVM (.vmexe) or its ELF; by default the project's only one
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    /// What the guest reads: hexadecimal digits (01 and bytes), or a JSON file {"input": ["01.."]}
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    /// The app's proving key, by default the project's app.pk
    #[arg(long, value_name = "FILE")]
    app_pk: Option<PathBuf>,
    /// Memory budgets to cut segments for
    #[arg(long, value_name = "AMOUNT", value_parser = parse_bytes, value_delimiter = ',', default_value = "4GiB,8GiB,16GiB,32GiB")]
    budget: Vec<u64>,
    #[command(flatten)]
    project: ProjectArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn meter(args: &MeterArgs, speech: Speech) -> Result<()> {
    let project = args.project.find()?;
    let exe = project.program(&args.exe)?;
    let guest = files::read_guest(&exe)?;
    let input = files::read_input(args.input.as_deref())?;
    let watch = Watch::new(speech, Recorder::default());
    let mut keys = watch.step("reading the key", || Keys::of_app(&project.key(&args.app_pk, project::APP_PK)))?;
    let gpu = watch.step("opening the device", || args.device.open(false))?;
    watch.devices(vec![gpu.clone()]);
    keys.fit(&gpu, 1);
    let (_, mut prover) = keys.app_prover(guest, &watch)?;
    let segments = watch.step("executing", || prover.meter(input.clone()))?;
    let mut rows = vec![Row::new(None, &segments)];
    for budget in &args.budget {
        prover = prover.segment_memory(segment_memory(*budget, 1));
        let segments = watch.step(&format!("segments for {}", bytes(*budget)), || prover.meter(input.clone()))?;
        rows.push(Row::new(Some(*budget), &segments));
    }
    drop(watch);
    let budgets: Vec<Value> = rows.iter().map(Row::to_json).collect();
    let instructions = rows[0].instructions;
    let value = json!({ "ok": true, "command": "meter", "instructions": instructions, "budgets": budgets });
    speech.result(value, &table(&rows))
}

/// The segments for one budget; as `prove` cuts them by default where there is none.
struct Row {
    budget: Option<u64>,
    segments: usize,
    instructions: u64,
    cells: u64,
    most_device_bytes: u64,
    most_host_bytes: u64,
}

impl Row {
    fn new(budget: Option<u64>, segments: &[MeteredSegment]) -> Self {
        let most = |bytes: fn(&MeteredSegment) -> u64| segments.iter().map(bytes).max().unwrap_or(0);
        Self {
            budget,
            segments: segments.len(),
            instructions: segments.iter().map(|segment| segment.instructions).sum(),
            cells: segments.iter().map(|segment| segment.cells).sum(),
            most_device_bytes: most(|segment| segment.device_bytes),
            most_host_bytes: most(|segment| segment.host_bytes),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "budget": self.budget, "segments": self.segments, "cells": self.cells,
            "device_bytes": self.most_device_bytes, "host_bytes": self.most_host_bytes,
        })
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{} instructions\n", rows[0].instructions);
    text += "budget         segments      cells  device memory  host memory\n";
    for row in rows {
        let budget = row.budget.map_or("this device".to_owned(), bytes);
        let (segments, cells) = (row.segments, row.cells as f64 / 1e6);
        let (device, host) = (bytes(row.most_device_bytes), bytes(row.most_host_bytes));
        text += &format!("{budget:<14} {segments:>8} {cells:>8.1} M  {device:>13}  {host:>11}\n");
    }
    text + "memory is that of the largest segment; `this device`: as `prove` cuts them without --segment-max-memory"
}
