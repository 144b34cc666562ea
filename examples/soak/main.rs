//! Proves for hours, with everything that happens in a service between: threads, sizes, budgets, proofs that fail and proofs that are given up,
//! keys that are made and dropped, devices that are opened and lost.
//!
//!     cargo run --release --example soak -- --hours 2 --threads 8 --chart soak.svg
//!
//! Every proof is compared with the first of its input byte for byte, and verified by another thread than the one that made it. Memory of
//! the host and of the device is sampled. The example fails if a proof is wrong, if an error is not the one that was asked for, if
//! something does not come back, or if memory grows.

mod chart;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;
mod watch;
mod work;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use eyre::{ensure, eyre, Result};
use openvm_stark_backend::StarkEngine;
use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine as Engine, WgpuDeviceBuilder};

use support::record::parse_bytes;
use watch::{Counts, Samples};
use work::Program;

/// Prove for a long time, with all kinds of trouble in between.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// How long, in hours
    #[arg(long, conflicts_with = "seconds", value_name = "H")]
    hours: Option<f64>,
    /// How long, in seconds
    #[arg(long, default_value_t = 60.0, value_name = "S")]
    seconds: f64,
    /// Threads that prove; by default as many as the host has cores
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// log2 of the rows of each program's highest trace, 2 to 10
    #[arg(long, value_delimiter = ',', default_value = "3,5,7", value_name = "N",
          value_parser = clap::value_parser!(u64).range(2..=10))]
    sizes: Vec<u64>,
    /// Memory budgets of the devices that are opened beside the first one
    #[arg(long, value_delimiter = ',', default_value = "24MiB,40MiB,256MiB", value_parser = parse_bytes, value_name = "AMOUNT")]
    budgets: Vec<u64>,
    /// Memory budget of the device that all threads prove on
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT")]
    memory_budget: Option<u64>,
    /// One in so many turns is something else than a proof that succeeds
    #[arg(long, default_value_t = 12, value_name = "N")]
    trouble: u32,
    /// Seconds between two devices that are opened and lost; 0: none
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    device_every: f64,
    /// Part of the name of the GPU to use
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Fail if fewer proofs were made
    #[arg(long, default_value_t = 1, value_name = "N")]
    at_least: u64,
    /// Write a chart of memory and proofs over time
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl Args {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.hours.map_or(self.seconds, |hours| 3600.0 * hours).clamp(0.0, 1e9))
    }

    fn builder(&self) -> WgpuDeviceBuilder {
        let builder = WgpuDeviceBuilder::new();
        self.adapter.iter().fold(builder, |builder, name| builder.adapter(name))
    }
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
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let builder = args.memory_budget.iter().fold(args.builder(), |builder, bytes| builder.memory_budget(*bytes));
    let engine = Engine::from_device(builder.build(work::params())?);
    println!("adapter: {}", engine.device().adapter_info());
    let programs: Vec<Program> = work::programs(&args.sizes)
        .map(|workload| Program::new(&engine, workload, args.seed))
        .collect::<Result<_>>()?;
    println!("{} programs, {threads} threads, {:.0} s", programs.len(), args.duration().as_secs_f64());
    engine.device().wait_for_kernels();
    let soak = Soak {
        args,
        engine: &engine,
        programs: &programs,
        counts: Counts::default(),
        done: AtomicBool::new(false),
        problem: Mutex::new(None),
        unverified: Mutex::default(),
    };
    let samples = soak.run(threads);
    soak.report(&samples, threads)
}

/// What all threads share.
struct Soak<'a> {
    args: &'a Args,
    engine: &'a Engine,
    programs: &'a [Program],
    counts: Counts,
    done: AtomicBool,
    /// The first thing that was not as it should be; it ends the run.
    problem: Mutex<Option<eyre::Report>>,
    /// Proofs that some other thread verifies, each with its maker and its program.
    unverified: Mutex<Vec<(usize, usize, work::Proof)>>,
}

impl Soak<'_> {
    fn run(&self, threads: usize) -> Samples {
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || self.guard(|| self.prove(number, threads)));
            }
            if self.args.device_every > 0.0 {
                scope.spawn(|| self.guard(|| self.open_and_lose()));
            }
            let samples = watch::watch(self.args.duration(), &self.done, self.engine.device(), &self.counts);
            self.done.store(true, Ordering::Relaxed);
            samples
        })
    }

    /// Runs a thread; what it returns or panics with ends the others.
    fn guard(&self, work: impl FnOnce() -> Result<()>) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if let Err(error) = result.unwrap_or_else(|_| Err(eyre!("a thread panicked"))) {
            self.done.store(true, Ordering::Relaxed);
            self.problem.lock().expect("no panic while held").get_or_insert(error);
        }
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn prove(&self, number: usize, threads: usize) -> Result<()> {
        let mut turns = work::Turns::new(self.args.seed, number, self.args.trouble);
        while !self.is_done() {
            let (program, turn) = (turns.program(self.programs.len()), turns.next_turn());
            let made = self.programs[program].take(self.engine, turn, &self.counts)?;
            if let Some(proof) = made {
                self.unverified.lock().expect("no panic while held").push((number, program, proof));
            }
            self.verify_one(number, threads)?;
        }
        // what is left, whoever made it
        while self.verify_one(usize::MAX, threads)? {}
        Ok(())
    }

    /// Verifies a proof of somebody else.
    fn verify_one(&self, number: usize, threads: usize) -> Result<bool> {
        let found = {
            let mut proofs = self.unverified.lock().expect("no panic while held");
            let others = proofs.iter().position(|(maker, ..)| threads == 1 || *maker != number);
            others.map(|at| proofs.swap_remove(at))
        };
        let Some((_, program, proof)) = found else { return Ok(false) };
        self.programs[program].verify(self.engine, &proof)?;
        self.counts.verified.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Opens devices with other budgets, proves on them, and loses every second one.
    fn open_and_lose(&self) -> Result<()> {
        for (round, &budget) in self.args.budgets.iter().cycle().enumerate() {
            let start = Instant::now();
            work::on_another_device(self.args.builder().memory_budget(budget), &self.programs[0], round % 2 == 0)?;
            self.counts.devices.fetch_add(1, Ordering::Relaxed);
            while start.elapsed().as_secs_f64() < self.args.device_every {
                if self.is_done() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn report(&self, samples: &Samples, threads: usize) -> Result<()> {
        let (counts, seconds) = (&self.counts, samples.seconds());
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (proofs, failures) = (of(&counts.proofs), of(&counts.failures));
        println!(
            "{proofs} proofs in {seconds:.0} s by {threads} threads, {:.1} a second; {} verified, {failures} failures that were asked for, \
             {} given up, {} keys made and dropped, {} devices opened and closed",
            proofs as f64 / seconds,
            of(&counts.verified),
            of(&counts.given_up),
            of(&counts.keys),
            of(&counts.devices),
        );
        println!("{samples}");
        if let Some(path) = &self.args.chart {
            chart::draw(path, &format!("{proofs} proofs, {threads} threads"), samples)?;
        }
        if let Some(problem) = self.problem.lock().expect("no panic while held").take() {
            return Err(problem);
        }
        ensure!(of(&counts.verified) == proofs, "{} proofs are not verified", proofs - of(&counts.verified));
        ensure!(proofs >= self.args.at_least, "fewer than {} proofs", self.args.at_least);
        samples.check()
    }
}
