//! Proves the execution of an OpenVM guest on the GPU: an ELF of yours, or one of the guests in examples/guest.
//!
//!     cargo run --release --features openvm --example openvm_guest
//!     cargo run --release --features openvm --example openvm_guest -- --guest sorting --size 20000
//!     cargo run --release --features openvm --example openvm_guest -- --gpus all --aggregate
//!     cargo run --release --features openvm --example openvm_guest -- --help

#[path = "support/gpus.rs"]
mod gpus;
#[path = "support/guests.rs"]
mod guests;
#[allow(dead_code)] // examples share this
#[path = "support/record.rs"]
mod record;
#[allow(dead_code)]
#[path = "support/spans.rs"]
mod spans;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use eyre::{ensure, eyre, Result, WrapErr};
use openvm_circuit::arch::{instructions::exe::VmExe, ContinuationVmProof, SystemConfig};
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, AppConfig},
    prover::verify_app_proof,
    CpuSdk, StdIn,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::{codec::Encode, p3_field::PrimeField32};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F},
    MAX_APP_LOG_STACKED_HEIGHT,
};
use openvm_verify_stark_host::VmStarkProof;
use openvm_wgpu_backend::{
    openvm::{
        decode_elf, fit_segments, transpile, AggregationProver, AggregationStep, AppProver, SegmentReport, WgpuSdk,
    },
    BabyBearPoseidon2WgpuEngine, WgpuDevice, WgpuDeviceBuilder,
};

use guests::{guest, Guest, GUESTS};
use record::{bytes, parse_bytes};
use spans::{Progress, SpanCollector, Voice};

/// The span of upstream's provers that has everything but execution and trace generation.
const PROVE_SPAN: &str = "stark_prove_excluding_trace";

/// Prove the execution of an OpenVM guest on the GPU.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The guest's ELF; one of the built-in guests if there is none
    elf: Option<PathBuf>,
    /// A file whose bytes are one item of the guest's input; may be repeated
    #[arg(long, value_name = "FILE", requires = "elf")]
    input: Vec<PathBuf>,
    /// The guest's openvm.toml, which names the extensions of its VM; by default rv32im, io and keccak
    #[arg(long, value_name = "FILE", requires = "elf")]
    vm_config: Option<PathBuf>,
    /// The built-in guest; examples/guest/README.md tells what each computes
    #[arg(long, value_name = "NAME", default_value = GUESTS[0].name, conflicts_with = "elf",
          value_parser = clap::builder::PossibleValuesParser::new(GUESTS.map(|guest| guest.name)))]
    guest: String,
    /// How much a built-in guest computes: rounds, words, messages; by default little
    #[arg(long, visible_alias = "rounds", value_name = "N", conflicts_with = "elf")]
    size: Option<u64>,
    /// Message of the guest hash_chain
    #[arg(long, default_value = "openvm", value_name = "TEXT")]
    message: String,
    /// Aggregate the segments' proofs into one
    #[arg(long)]
    aggregate: bool,
    /// How many segments to prove at once, memory permitting; by default the prover chooses
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    parallel: Option<u64>,
    /// How many segments to execute and trace at once; by default the prover chooses
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    traces: Option<u64>,
    /// How many times to prove the execution: the first time, kernels are compiled
    #[arg(long, default_value_t = 1, value_name = "N")]
    repeat: usize,
    /// Prove the same with OpenVM's CPU backend and print the ratio
    #[arg(long)]
    compare_cpu: bool,
    /// Part of the name of the GPU to use; the example `adapters` lists the names
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// The GPUs to prove on at once, separated by commas: `all`, or numbers, PCI addresses, UUIDs or parts of names as the example `adapters` lists
    /// them; one that is named twice is opened twice
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "adapter")]
    gpus: Vec<String>,
    /// Most device memory to use, as in 4GiB, on each GPU
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT")]
    memory_budget: Option<u64>,
    /// Most memory for a segment's proof by OpenVM's estimate; by default the prover chooses what fits the budget
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT")]
    segment_memory: Option<u64>,
    /// log2 of the height that traces are stacked to: the highest trace must fit
    #[arg(long, default_value_t = 21, value_name = "N",
          value_parser = clap::value_parser!(u64).range(18..=MAX_APP_LOG_STACKED_HEIGHT as u64))]
    log_stacked_height: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let spans = SpanCollector::install();
    let progress = Progress::new(&spans, Voice::FULL);
    let input = guest_input(args)?;
    let elf = match &args.elf {
        Some(path) => std::fs::read(path).wrap_err_with(|| format!("cannot read {}", path.display()))?,
        None => built_in(args).elf.to_vec(),
    };
    let elf = decode_elf(&elf)?;
    let (config, others) = open_devices(args, &progress)?;
    let sdk = WgpuSdk::new(config.clone(), AggregationSystemParams::default())?;
    let exe = progress.step("transpiling", || transpile(&sdk, elf))?;
    progress.step("key generation", || sdk.app_keygen());
    let mut prover = progress.step("program and proving key to the device", || AppProver::new(&sdk, exe.clone()))?;
    for device in &others {
        let also = || prover.also_on(device);
        prover = progress.step("the same to another GPU", also)?;
    }
    if let Some(proofs) = args.parallel {
        prover = prover.proofs_at_once(proofs as usize);
    }
    if let Some(segments) = args.traces {
        prover = prover.traces_at_once(segments as usize);
    }
    if let Some(bytes) = args.segment_memory {
        prover = prover.segment_memory(bytes as usize);
    }

    let aggregation = || {
        let tree = AggregationTreeConfig::default();
        let prover = AggregationProver::new(Arc::new(sdk.app_vk().vk), &AggregationSystemParams::default(), tree);
        others.iter().try_fold(prover, AggregationProver::also_on)
    };
    let aggregation = args.aggregate.then(|| progress.step("aggregation: key generation", aggregation)).transpose()?;
    let mut proof = prove(&mut prover, aggregation.as_ref(), &input, &progress, &spans)?;
    for _ in 1..args.repeat {
        prover.devices().for_each(WgpuDevice::wait_for_kernels);
        proof = prove(&mut prover, aggregation.as_ref(), &input, &progress, &spans)?;
    }
    let verify = || verify_app_proof::<BabyBearPoseidon2WgpuEngine>(&sdk.app_vk(), &proof.app);
    ensure!(progress.step("verification", verify)? == prover.exe_commit(), "the proof is one of another program");
    println!("app proof verified; public values: {}", public_values(&proof.app));
    if let (Some(aggregation), Some(aggregated)) = (&aggregation, &proof.aggregated) {
        verify_aggregated(aggregation, &prover, aggregated, &progress)?;
    }
    if args.compare_cpu {
        compare_cpu(config, exe, &input, proof.time, &progress, &spans)?;
    }
    Ok(())
}

/// The guest that is proved where no ELF is named.
fn built_in(args: &Args) -> &'static Guest {
    guest(&args.guest).expect("the arguments allow no other names")
}

fn guest_input(args: &Args) -> Result<StdIn> {
    let mut input = StdIn::default();
    if args.elf.is_none() {
        input.write(&args.size.unwrap_or(built_in(args).size));
        if built_in(args).reads_message {
            input.write_bytes(args.message.as_bytes());
        }
    }
    for path in &args.input {
        input.write_bytes(&std::fs::read(path).wrap_err_with(|| format!("cannot read {}", path.display()))?);
    }
    Ok(input)
}

/// The GPUs that shall prove, by name; without one, the best.
fn gpu_names(args: &Args) -> Result<Vec<Option<String>>> {
    if args.gpus.is_empty() {
        return Ok(vec![args.adapter.clone()]);
    }
    let names = gpus::names(&args.gpus)?;
    ensure!(!names.is_empty(), "there is no GPU to prove on");
    Ok(names.into_iter().map(Some).collect())
}

/// Opens the GPUs, the first as the default one; returns a VM whose segments fit all of them, and the others.
fn open_devices(args: &Args, progress: &Progress) -> Result<(AppConfig<SdkVmConfig>, Vec<WgpuDevice>)> {
    let params = app_params_with_100_bits_security(args.log_stacked_height as usize);
    let builder = |name: &Option<String>| {
        let builder = WgpuDeviceBuilder::new();
        let builder = name.iter().fold(builder, WgpuDeviceBuilder::adapter);
        args.memory_budget.into_iter().fold(builder, WgpuDeviceBuilder::memory_budget)
    };
    let names = gpu_names(args)?;
    let first = progress.step("opening the GPU", || builder(&names[0]).set_default());
    let first = first.wrap_err("cannot prove on the GPU")?;
    println!("adapter: {}", first.adapter());
    let mut others = vec![];
    for name in &names[1..] {
        let device = progress.step("opening another GPU", || builder(name).build(params.clone()));
        let device = device.wrap_err("cannot prove on one of the GPUs")?;
        println!("adapter: {}", device.adapter_info());
        others.push(device);
    }
    let gpus = others.iter().map(WgpuDevice::gpu).chain([&first]);
    let smallest = gpus.min_by_key(|gpu| gpu.memory_budget()).expect("there is a first one");
    let mut vm = match &args.vm_config {
        Some(path) => {
            let toml = std::fs::read_to_string(path).wrap_err_with(|| format!("cannot read {}", path.display()))?;
            SdkVmConfig::from_toml(&toml).wrap_err_with(|| format!("{} is no VM configuration", path.display()))?
        }
        None if args.elf.is_none() => SdkVmConfig::from_toml(built_in(args).config)?,
        None => vm_with_keccak(),
    };
    fit_segments(&mut vm, smallest, args.parallel.unwrap_or(1) as usize);
    if let Some(limit) = args.segment_memory {
        // for the CPU backend, too
        AsMut::<SystemConfig>::as_mut(&mut vm).set_segmentation_max_memory(limit as usize);
    }
    Ok((AppConfig::new(vm, params), others))
}

/// RV32IM with input and output and Keccak-256.
fn vm_with_keccak() -> SdkVmConfig {
    SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() }
}

/// What a repetition has proved.
struct Proved {
    app: ContinuationVmProof<SC>,
    aggregated: Option<VmStarkProof>,
    /// In the provers, summed over proofs.
    time: Duration,
}

/// Proves all segments, and aggregates them if there is a prover for that.
fn prove(
    prover: &mut AppProver,
    aggregation: Option<&AggregationProver>,
    input: &StdIn,
    progress: &Progress,
    spans: &SpanCollector,
) -> Result<Proved> {
    prover.devices().for_each(WgpuDevice::reset_metrics);
    spans.take();
    let reports = std::sync::Mutex::new(vec![]);
    let start = Instant::now();
    let several = prover.devices().len() > 1;
    let on = |device: Option<usize>| device.filter(|_| several).map_or(String::new(), |gpu| format!(" on GPU {gpu}"));
    let segment = |report: &SegmentReport| {
        print_segment(report, &on(report.device));
        reports.lock().expect("printing does not panic").push((start.elapsed(), *report));
    };
    let (proof, aggregated) = match aggregation {
        None => (progress.step("app proof", || prover.prove_with(input.clone(), segment))?, None),
        Some(aggregation) => {
            let step = |step: &AggregationStep| {
                let (took, at) = (step.proving.as_secs_f64(), start.elapsed().as_secs_f64());
                let on = on(step.device);
                println!("{} proof of {} children{on}: {took:.2} s, at {at:.2} s", step.level, step.children);
            };
            let prove = || aggregation.prove_program(prover, input.clone(), segment, step);
            let (proof, aggregated) = progress.step("app proof and aggregation", prove)?;
            (proof, Some(aggregated))
        }
    };
    let wall = start.elapsed();
    let proving = prove_time(spans);
    let reports = reports.into_inner().expect("printing does not panic");
    let size: usize = proof.per_segment.iter().map(|proof| proof.encode_to_vec().map_or(0, |bytes| bytes.len())).sum();
    println!(
        "{}: {} segments, {} instructions, {size} bytes in {:.2} s; {PROVE_SPAN} {:.2} s; peak device memory {}",
        if aggregated.is_some() { "app proof and aggregation" } else { "app proof" },
        reports.len(),
        reports.iter().map(|(_, report)| report.instructions).sum::<u64>(),
        wall.as_secs_f64(),
        proving.as_secs_f64(),
        prover.devices().map(|device| bytes(device.metrics().peak_bytes)).collect::<Vec<_>>().join(", "),
    );
    print_split(&reports, prover.devices().len(), wall);
    Ok(Proved { app: proof, aggregated, time: proving })
}

/// Prints where the time went; reports come with the times at which their proofs ended.
fn print_split(reports: &[(Duration, SegmentReport)], devices: usize, wall: Duration) {
    let total = |part: fn(&SegmentReport) -> Duration| {
        reports.iter().map(|(_, report)| part(report)).sum::<Duration>().as_secs_f64()
    };
    println!(
        "summed over segments: execution {:.2} s, traces and upload {:.2} s, waiting for the device {:.2} s, proving {:.2} s",
        total(|report| report.execution),
        total(|report| report.trace_generation),
        total(|report| report.waiting),
        total(|report| report.proving),
    );
    for device in 0..devices {
        let own = reports.iter().filter(|(_, report)| report.device == Some(device));
        let proving = union(own.map(|(end, report)| (end.saturating_sub(report.proving), *end)).collect());
        println!(
            "{} was proving for {:.2} s of {:.2} s; {:.2} s ({:.0} %) are the host's work that is not hidden behind it",
            if devices == 1 { "the device".to_owned() } else { format!("GPU {device}") },
            proving.as_secs_f64(),
            wall.as_secs_f64(),
            wall.saturating_sub(proving).as_secs_f64(),
            100. * (1. - proving.as_secs_f64() / wall.as_secs_f64()),
        );
    }
}

/// Time that is in at least one of the intervals.
fn union(mut intervals: Vec<(Duration, Duration)>) -> Duration {
    intervals.sort();
    let mut covered = Duration::ZERO;
    let mut until = Duration::ZERO;
    for (from, to) in intervals {
        covered += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    covered
}

fn print_segment(report: &SegmentReport, on: &str) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "segment {} of {}{on}: {} instructions, {:.1} M cells; execution {:.0} ms, traces and upload {:.0} ms, proof {:.0} ms",
        report.segment + 1,
        report.segments,
        report.instructions,
        report.cells as f64 / 1e6,
        ms(report.execution),
        ms(report.trace_generation),
        ms(report.proving),
    );
}

/// What upstream's provers spent beside execution and trace generation since the spans were taken last.
fn prove_time(spans: &SpanCollector) -> Duration {
    spans.take().iter().filter(|span| span.name() == PROVE_SPAN).map(|span| span.total).sum()
}

fn public_values(proof: &ContinuationVmProof<SC>) -> String {
    let values = &proof.user_public_values.public_values;
    values.iter().map(|value| format!("{:02x}", value.as_canonical_u32())).collect()
}

/// Proves the same execution with OpenVM's CPU backend.
fn compare_cpu(
    config: AppConfig<SdkVmConfig>,
    exe: Arc<VmExe<F>>,
    input: &StdIn,
    gpu_time: Duration,
    progress: &Progress,
    spans: &SpanCollector,
) -> Result<()> {
    let sdk = CpuSdk::new(config, AggregationSystemParams::default())?;
    let mut prover = progress.step("cpu: key generation", || sdk.app_prover(exe))?;
    spans.take();
    let start = Instant::now();
    let proof = progress.step("cpu: app proof", || prover.prove(input.clone()))?;
    let (wall, cpu_time) = (start.elapsed(), prove_time(spans));
    println!(
        "OpenVM's CPU backend: {} segments in {:.2} s, {PROVE_SPAN} {:.2} s; this backend's {:.2} s are {:.2} times as fast",
        proof.per_segment.len(),
        wall.as_secs_f64(),
        cpu_time.as_secs_f64(),
        gpu_time.as_secs_f64(),
        cpu_time.as_secs_f64() / gpu_time.as_secs_f64(),
    );
    Ok(())
}

/// Verifies the one STARK proof that the app proof has become.
fn verify_aggregated(
    aggregation: &AggregationProver,
    prover: &AppProver,
    proof: &VmStarkProof,
    progress: &Progress,
) -> Result<()> {
    let size = proof.inner.encode_to_vec()?.len();
    let verifying_key = aggregation.verifying_key().as_ref().clone();
    let verify = || WgpuSdk::verify_proof(verifying_key, aggregation.baseline(prover), proof);
    progress
        .step("verification", verify)
        .map_err(|error| eyre!("the verifier rejects the aggregated proof: {error}"))?;
    println!("aggregated proof: {size} bytes, verified");
    Ok(())
}
