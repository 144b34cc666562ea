//! `worker`: devices that take tasks from a server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{builder::NonEmptyStringValueParser, Args};
use openvm_stark_sdk::config::app_params_with_100_bits_security;
use openvm_wgpu_backend::{
    fleet::temporal::{Ended, Worker, Workshop},
    openvm::jobs::GpuWorkshop,
    WgpuDeviceBuilder,
};
use serde_json::json;
use tokio::signal::unix::{signal, SignalKind};

use super::{figures::Figures, BlobsArgs, ServerArgs};
use crate::{
    devices::named,
    failure::{Failure, Kind, Result},
    metrics,
    session::Speech,
    support::record::parse_bytes,
};

/// Options of `worker`.
#[derive(Args, Debug)]
#[command(after_help = super::usage::WORKER)]
pub struct WorkerArgs {
    /// The GPUs to prove on, separated by commas: `all`, or numbers, PCI addresses, UUIDs or parts of names as `doctor` lists them
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    #[arg(default_value = "all", help_heading = "Device")]
    gpus: Vec<String>,
    /// Most device memory to use on each GPU, as in 20GiB
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT", help_heading = "Device")]
    memory_budget: Option<u64>,
    /// What the worker is called, by default the host's name with the process' number
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long tasks may take to finish when the worker is asked to stop; others go back to the server
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    grace: u64,
    /// Answer Prometheus at this address, as 127.0.0.1:9100
    #[arg(long, value_name = "ADDRESS", help_heading = "Pictures")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    blobs: BlobsArgs,
}

pub fn worker(args: &WorkerArgs, speech: Speech) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,openvm_wgpu_backend::fleet=warn"));
    // nobody else has set one in this command
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).try_init();
    let (server, blobs) = (args.server.server()?, args.blobs.open()?);
    let name = args.name.clone().unwrap_or_else(default_name);
    let workshops = workshops(args, speech)?;
    super::wait(async {
        let grace = Duration::from_secs(args.grace);
        let mut worker = Worker::new(name.clone(), server, blobs.clone()).grace(grace);
        for workshop in &workshops {
            worker = worker.device(workshop.clone());
        }
        let counters = worker.counters().clone();
        if let Some(address) = args.metrics_listen {
            metrics::listen(address)?;
            Figures { counters: counters.clone(), traffic: blobs.traffic().clone(), workshops }.keep();
        }
        speech.note(&format!("{name}: waiting for tasks; SIGTERM or Ctrl-C ends it when those under way are done"));
        let ended = worker.run(asked_to_stop(speech, grace)?).await?;
        let (counted, ran) = counters.read();
        let of_state = |wanted: &'static str| counted.tasks.iter().filter(move |((_, state), _)| *state == wanted);
        let proved: u64 = of_state("proved").map(|(_, tasks)| tasks).sum();
        match ended {
            Ended::Out(reason) => Err(Failure::new(Kind::Device, reason)),
            Ended::Stopped => {
                let value = json!({ "ok": true, "command": "worker", "name": name, "proved": proved,
                    "rejected": counted.rejected, "seconds": ran.as_secs_f64() });
                speech.result(value, &format!("{name}: {proved} tasks proved"))
            }
        }
    })
}

/// The first signal asks; the second ends the process.
fn asked_to_stop(speech: Speech, grace: Duration) -> Result<impl std::future::Future<Output = ()>> {
    let listen = |kind| signal(kind).map_err(|error| Failure::io("cannot listen for signals", &error));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () };
        let seconds = grace.as_secs();
        speech.note(&format!("stopping: what is under way may take {seconds} s; once more leaves at once"));
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => (), _ = int.recv() => () };
            std::process::exit(130);
        });
    })
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "worker".into());
    format!("{}-{}", host.trim(), std::process::id())
}

/// The GPUs, opened; one that is named twice is opened twice.
fn workshops(args: &WorkerArgs, speech: Speech) -> Result<Vec<Arc<dyn Workshop>>> {
    let open = |(number, name): (usize, String)| -> Result<Arc<dyn Workshop>> {
        let builder = args.memory_budget.into_iter().fold(WgpuDeviceBuilder::new(), WgpuDeviceBuilder::memory_budget);
        // each job has parameters of its own; these are for nobody
        let device = builder.adapter(name).build(app_params_with_100_bits_security(21))?;
        let gpu = device.gpu().clone();
        speech.note(&format!("gpu{number}: {}, {} MiB", gpu.adapter(), gpu.memory_budget() >> 20));
        Ok(Arc::new(GpuWorkshop::new(gpu, format!("gpu{number}"))))
    };
    named(&args.gpus)?.into_iter().enumerate().map(open).collect()
}
