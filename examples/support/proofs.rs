//! Proves keccak-f permutations (or another workload) on the GPU, verifies the proofs with upstream's verifier, and says how long everything
//! took.

use std::{path::PathBuf, time::Duration};

use eyre::{bail, ensure, Result, WrapErr};
use openvm_stark_backend::{
    prover::{ColMajorMatrix, MatrixDimensions},
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2CpuEngine, F},
    MAX_APP_LOG_STACKED_HEIGHT,
};
use openvm_wgpu_backend::{
    options::EvaluatorPolicy, report::KernelTimes, BabyBearPoseidon2WgpuEngine, WgpuDevice, WgpuDeviceBuilder,
};

use super::{
    record::{bytes, comparison, median, parse_bytes, read_records, span_tree, ProofRecord, RecordFile},
    runner::{generate_keys, Keys, Outcome, Runner},
    spans::{Progress, SpanCollector, Voice},
    workloads::{seed_of_proof, Workload, WorkloadKind},
};

/// What is proved how often.
#[derive(clap::Args, Clone, Debug)]
pub struct ProofArgs {
    /// log2 of the keccak-f permutations in a proof (of the rows, for the other workloads)
    #[arg(long, default_value_t = 10, value_name = "N")]
    log_perms: usize,
    /// How many proofs to make, each of other random inputs
    #[arg(long, default_value_t = 1, value_name = "N")]
    proofs: usize,
    /// Proofs to make before those that count
    #[arg(long, default_value_t = 0, value_name = "N")]
    warmup: usize,
    /// Keep the GPU busy for so long before each proof, so that its clocks are up
    #[arg(long, default_value_t = 0, value_name = "MS")]
    warm_up_ms: u64,
    /// Leave the GPU without work for so long before each proof, as if the host generated a trace
    #[arg(long, default_value_t = 0, value_name = "MS")]
    idle_ms: u64,
    /// Let the GPU's clocks fall while it has no work, rather than keep it warm
    #[arg(long)]
    let_cool: bool,
    /// What to prove
    #[arg(long, value_enum, default_value = "keccak")]
    workload: WorkloadKind,
    /// Part of the name of the GPU to use; the example `adapters` lists the names
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Most device memory to use, as in 4GiB
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT")]
    memory_budget: Option<u64>,
    /// How constraints are evaluated
    #[arg(long, value_enum, default_value = "auto")]
    evaluator: Evaluator,
    /// Prove the same on the CPU with openvm-cpu-backend and print the ratio
    #[arg(long)]
    compare_cpu: bool,
    /// Write one JSON object per proof, a line each
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// An earlier file of records: print each span before, after and the difference
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Measure the device time of each kernel and print it (slows the proof down)
    #[arg(long)]
    kernel_times: bool,
    /// Seed of the random inputs
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// log2 of the height that traces are stacked to: the highest trace must fit
    #[arg(long, default_value_t = 21, value_name = "N",
          value_parser = clap::value_parser!(u64).range(5..=MAX_APP_LOG_STACKED_HEIGHT as u64))]
    log_stacked_height: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Evaluator {
    /// Generated kernels where they pay, the interpreter until they are compiled
    Auto,
    /// Any constraints, nothing to compile
    Interpreter,
    /// Generated kernels where they pay, all compiled before the first proof
    Generated,
}

impl From<Evaluator> for EvaluatorPolicy {
    fn from(evaluator: Evaluator) -> Self {
        match evaluator {
            Evaluator::Auto => Self::Auto,
            Evaluator::Interpreter => Self::Interpreter,
            Evaluator::Generated => Self::Generated,
        }
    }
}

/// Makes the proofs, prints and writes what was measured, and returns it.
///
/// # Errors
///
/// A file that cannot be read or written, what the device reports, a proof that is rejected.
pub fn run(args: &ProofArgs, voice: Voice) -> Result<Vec<ProofRecord>> {
    // what can fail for a wrong path fails before the work; the baseline may be the file that
    // --records overwrites
    let baseline = args.baseline.as_deref().map(read_records).transpose()?;
    let mut records_file = args.records.as_deref().map(RecordFile::create).transpose()?;

    let workload = Workload { kind: args.workload, log_n: args.log_perms };
    let params = app_params_with_100_bits_security(args.log_stacked_height as usize);
    fits(args, &params)?;
    let spans = SpanCollector::install();
    let progress = Progress::new(&spans, voice);
    let device = progress.step("opening the GPU", || open_device(args, &params))?;
    let adapter = device.adapter_info().clone();
    voice.line(format_args!("adapter: {adapter}"));

    let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
    let keys = generate_keys(&engine, &workload, &progress);
    let runner = Runner::new(&engine, &keys, "wgpu", &progress, &spans);

    let mut records = vec![];
    let mut last_traces = vec![];
    for i in 0..args.warmup + args.proofs {
        if i == args.warmup && i > 0 {
            progress.step("kernels that are still being compiled", || engine.device().wait_for_kernels());
        }
        // frees the last proof's traces before it draws the next
        last_traces.clear();
        last_traces = progress.step("trace generation", || workload.traces(seed_of_proof(args.seed, i)));
        if i == 0 {
            print_dimensions(&keys, &last_traces, voice);
        }
        let device = engine.device();
        let ready = || {
            let _warm = device.keep_warm();
            std::thread::sleep(Duration::from_millis(args.idle_ms));
            device.warm_up(Duration::from_millis(args.warm_up_ms))?;
            device.reset_metrics();
            Ok(())
        };
        let outcome = runner.prove(&last_traces, || Ok(device.synchronize()?), ready)?;
        let record = record(&adapter.name, &workload, &engine, &outcome);
        if i < args.warmup {
            outcome.verification?;
            continue;
        }
        if let Some(file) = &mut records_file {
            file.write(&record)?;
        }
        print_proof(i - args.warmup + 1, &record, &outcome, voice);
        if args.kernel_times {
            print_kernel_times(&engine.device().gpu().kernel_times(), voice);
        }
        outcome.verification?;
        records.push(record);
    }

    print_summary(&records, voice);
    if let Some(baseline) = &baseline {
        voice.line(format_args!("\nagainst the baseline:\n{}", comparison(baseline, &records)?));
    }
    if args.compare_cpu && !records.is_empty() {
        compare_cpu(&params, &keys, &last_traces, &records, &progress, &spans, voice)?;
    }
    Ok(records)
}

/// Refuses what would be found out after minutes, or never: traces beyond the stacked height, a height that WHIR does not fold.
fn fits(args: &ProofArgs, params: &SystemParams) -> Result<()> {
    let most = args.log_stacked_height as usize;
    if params.whir.rounds.is_empty() {
        bail!("--log-stacked-height {most} is too low for a round of WHIR");
    }
    // beyond it, numbers of rows overflow
    if args.log_perms <= most {
        let rows = Workload { kind: args.workload, log_n: args.log_perms }.heights().into_iter().max().unwrap_or(0);
        if rows <= 1 << most {
            return Ok(());
        }
    }
    let (name, n) = (Workload { kind: args.workload, log_n: 0 }.name(), args.log_perms);
    bail!("{name} with --log-perms {n} does not fit; give a smaller one or a larger --log-stacked-height than {most}")
}

fn open_device(args: &ProofArgs, params: &SystemParams) -> Result<WgpuDevice> {
    let mut builder = WgpuDeviceBuilder::new().evaluator(args.evaluator.into()).kernel_times(args.kernel_times);
    if let Some(name) = &args.adapter {
        builder = builder.adapter(name);
    }
    if args.let_cool {
        builder = builder.keep_warm(false);
    }
    if let Some(budget) = args.memory_budget {
        builder = builder.memory_budget(budget);
    }
    builder.build(params.clone()).wrap_err("cannot prove on the GPU")
}

fn record(adapter: &str, workload: &Workload, engine: &BabyBearPoseidon2WgpuEngine, outcome: &Outcome) -> ProofRecord {
    let metrics = engine.device().metrics();
    let seconds = outcome.prove.as_secs_f64();
    ProofRecord {
        adapter: adapter.to_string(),
        workload: workload.name().to_string(),
        log_n: workload.log_n,
        prove_ms: seconds * 1e3,
        spans: outcome.spans.clone(),
        verified: outcome.verification.is_ok(),
        proof_bytes: outcome.proof_bytes,
        host_waits: metrics.host_waits,
        peak_device_bytes: metrics.peak_bytes,
        permutations_per_s: workload.permutations().map(|n| n as f64 / seconds),
    }
}

/// The kernels that took the most device time; those that are generated from one program (`.. kernel 3`) together.
fn print_kernel_times(times: &KernelTimes, voice: Voice) {
    let mut programs = KernelTimes::new();
    for (name, time) in times {
        let program = name.rsplit_once(" kernel ").map_or(name.clone(), |(program, _)| format!("{program} kernels"));
        let sum = programs.entry(program).or_default();
        sum.ms += time.ms;
        sum.count += time.count;
    }
    let mut rows: Vec<_> = programs.iter().collect();
    rows.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
    let all: f64 = rows.iter().map(|(_, time)| time.ms).sum();
    voice.line(format_args!("device time by kernel, {all:.3} ms in all:"));
    for (name, time) in rows.into_iter().take(40) {
        voice.line(format_args!("{:12.3} ms  x{:<6} {name}", time.ms, time.count));
    }
}

fn print_dimensions(keys: &Keys, traces: &[ColMajorMatrix<F>], voice: Voice) {
    for (air, trace) in keys.pk.per_air.iter().zip(traces) {
        let constraints = &air.vk.symbolic_constraints;
        voice.line(format_args!(
            "trace of {}: 2^{} x {}, {} constraints of degree up to {}, {} interactions",
            air.air_name,
            trace.height().ilog2(),
            trace.width(),
            constraints.constraints.num_constraints(),
            air.vk.max_constraint_degree,
            constraints.interactions.len()
        ));
    }
}

fn print_proof(number: usize, record: &ProofRecord, outcome: &Outcome, voice: Voice) {
    let rate = record.permutations_per_s.map_or(String::new(), |rate| format!(", {rate:.1} permutations/s"));
    voice.line(format_args!(
        "proof {number}: {:.1} ms{rate}, {} bytes, {}; trace upload {:.1} ms; \
         peak device memory {}; {} host waits",
        record.prove_ms,
        record.proof_bytes,
        if record.verified { "verified" } else { "NOT VERIFIED" },
        outcome.upload.as_secs_f64() * 1e3,
        bytes(record.peak_device_bytes),
        record.host_waits
    ));
}

fn print_summary(records: &[ProofRecord], voice: Voice) {
    voice.line(format_args!("\nspans, median of {} proofs:\n{}", records.len(), span_tree(records)));
    if let Some(prove_ms) = median_prove_ms(records) {
        let rate = median(records.iter().filter_map(|r| r.permutations_per_s).collect());
        let rate = rate.map_or(String::new(), |rate| format!(", {rate:.1} permutations/s"));
        voice.line(format_args!("prove: {prove_ms:.1} ms{rate}"));
    }
}

/// The median of the proofs' times, milliseconds.
pub fn median_prove_ms(records: &[ProofRecord]) -> Option<f64> {
    median(records.iter().map(|record| record.prove_ms).collect())
}

/// Proves the last proof's traces with openvm-cpu-backend.
fn compare_cpu(
    params: &SystemParams,
    keys: &Keys,
    traces: &[ColMajorMatrix<F>],
    records: &[ProofRecord],
    progress: &Progress,
    spans: &SpanCollector,
    voice: Voice,
) -> Result<()> {
    let engine: BabyBearPoseidon2CpuEngine = StarkEngine::new(params.clone());
    let outcome = Runner::new(&engine, keys, "cpu", progress, spans).prove(traces, || Ok(()), || Ok(()))?;
    outcome.verification?;
    let cpu_ms = outcome.prove.as_secs_f64() * 1e3;
    let wgpu_ms = median_prove_ms(records).unwrap_or_default();
    ensure!(wgpu_ms > 0.0, "no proof to compare with");
    let ratio = cpu_ms / wgpu_ms;
    voice.line(format_args!(
        "openvm-cpu-backend: {cpu_ms:.1} ms; this prover: {wgpu_ms:.1} ms, {ratio:.2} times as fast"
    ));
    Ok(())
}
