//! The comparison table of docs/performance.md: proofs here and with a peer's driver on the same workloads, each pair in one run.

mod chart;
mod peer;

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use eyre::{bail, ensure, Report, Result, WrapErr};
use serde_json::{json, Value};

use super::{
    record::{bytes, median, read_records, ProofRecord},
    spans::Voice,
};
use chart::{draw, Bars};
use peer::PeerRun;

/// What is compared.
#[derive(clap::Args, Clone, Debug)]
pub struct CompareArgs {
    /// What to prove: workload, log2 of its size, log2 of the stacked height, proofs
    #[arg(long, value_name = "NAME:N:HEIGHT:PROOFS", value_parser = parse_job,
          default_values = ["keccak:10:21:12", "keccak:13:21:10", "vm:20:21:12", "dummy:20:21:12", "vm:23:23:10", "many:15:21:12",
          "many:17:21:12"])]
    job: Vec<Job>,
    /// The peer's driver, such as peer-cuda; without it only this backend is measured
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Proofs to make before those that count
    #[arg(long, default_value_t = 4)]
    warmup: usize,
    /// Keep the GPU busy for so long before each proof
    #[arg(long, default_value_t = 500, value_name = "MS")]
    warm_up_ms: u64,
    /// Where the records go: NAME-N.json of each workload, and NAME-N.peer.json
    #[arg(long, default_value = "target/compare", value_name = "FOLDER")]
    out: PathBuf,
    /// Take the records that are there instead of proving
    #[arg(long)]
    no_run: bool,
    /// Draw the times
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Job {
    workload: String,
    log_n: usize,
    log_stacked_height: usize,
    proofs: usize,
}

fn parse_job(text: &str) -> Result<Job, String> {
    let [workload, numbers @ ..] = &text.split(':').collect::<Vec<_>>()[..] else { unreachable!("a split has a part") };
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|number| number.parse()).collect();
    match numbers.as_deref() {
        Ok(&[log_n, log_stacked_height, proofs]) if proofs > 0 => {
            Ok(Job { workload: (*workload).to_owned(), log_n, log_stacked_height, proofs })
        }
        _ => Err(format!("`{text}` is not NAME:N:HEIGHT:PROOFS")),
    }
}

/// One line of the table.
struct Comparison {
    name: String,
    ours: Vec<ProofRecord>,
    peer: Option<PeerRun>,
}

impl Job {
    fn name(&self) -> String {
        format!("{} {}", self.workload, self.log_n)
    }

    fn file(&self, folder: &Path, extension: &str) -> PathBuf {
        folder.join(format!("{}-{}.{extension}", self.workload, self.log_n))
    }

    fn run(&self, args: &CompareArgs, driver: &Driver, voice: Voice) -> Result<()> {
        let mut child = Command::new(&driver.program)
            .args(driver.arguments)
            .args(["--workload", &self.workload, "--log-perms", &self.log_n.to_string()])
            .args(["--log-stacked-height", &self.log_stacked_height.to_string()])
            .args(["--proofs", &self.proofs.to_string(), "--warmup", &args.warmup.to_string()])
            .args(["--warm-up-ms", &args.warm_up_ms.to_string(), "--records"])
            .arg(self.file(&args.out, "json"))
            .stdout(if voice.results { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::piped())
            .spawn()
            .wrap_err_with(|| format!("cannot run {}", driver.program.display()))?;
        // passes on what it says; its last words are this run's
        let mut last = String::new();
        for line in child.stderr.take().into_iter().flat_map(|said| BufReader::new(said).lines()).map_while(Result::ok)
        {
            match line.strip_prefix("error: ") {
                Some(error) => error.clone_into(&mut last),
                None => voice.note(&line),
            }
        }
        let status = child.wait().wrap_err_with(|| format!("cannot wait for {}", driver.program.display()))?;
        if !status.success() {
            return Err(Report::new(DriverFailed { code: status.code(), error: format!("{}: {last}", self.name()) }));
        }
        if let Some(peer) = &args.peer {
            self.run_peer(peer, args)?;
        }
        Ok(())
    }

    fn run_peer(&self, driver: &Path, args: &CompareArgs) -> Result<()> {
        let output = Command::new(driver)
            .args([&self.workload, &self.log_n.to_string(), &self.proofs.to_string()])
            .arg(format!("warmup={}", args.warmup))
            .arg(format!("lstack={}", self.log_stacked_height))
            // its memory pool sized in advance, which is its best case
            .envs([("VPMM_PAGE_SIZE", "4194304"), ("VPMM_PAGES", "4096")])
            .stderr(Stdio::inherit())
            .output()
            .wrap_err_with(|| format!("cannot run {}", driver.display()))?;
        ensure!(output.status.success(), "the peer on {}: {}", self.name(), output.status);
        let file = self.file(&args.out, "peer.json");
        std::fs::write(&file, &output.stdout).wrap_err_with(|| format!("cannot write {}", file.display()))
    }

    fn read(&self, folder: &Path) -> Result<Comparison> {
        let ours = read_records(&self.file(folder, "json"))?;
        ensure!(!ours.is_empty() && ours.iter().all(|record| record.verified), "{}: not all verified", self.name());
        let peer = match std::fs::read_to_string(self.file(folder, "peer.json")) {
            Ok(output) => Some(PeerRun::parse(&output)?),
            Err(_) => None,
        };
        Ok(Comparison { name: self.name(), ours, peer })
    }
}

impl Comparison {
    fn median_ms(&self) -> f64 {
        median(self.ours.iter().map(|record| record.prove_ms).collect()).expect("there are proofs")
    }

    fn least_and_most(&self) -> (f64, f64) {
        let ms = |record: &ProofRecord| record.prove_ms;
        let least = self.ours.iter().map(ms).fold(f64::INFINITY, f64::min);
        (least, self.ours.iter().map(ms).fold(0.0, f64::max))
    }

    fn host_waits(&self) -> u64 {
        self.ours.iter().map(|record| record.host_waits).max().unwrap_or(0)
    }

    fn peak_device_bytes(&self) -> u64 {
        self.ours.iter().map(|record| record.peak_device_bytes).max().unwrap_or(0)
    }

    fn to_json(&self) -> Value {
        let (least, most) = self.least_and_most();
        let peer = self.peer.as_ref().map(PeerRun::median_ms);
        json!({
            "adapter": self.ours[0].adapter, "workload": self.name, "proofs": self.ours.len(), "median_ms": self.median_ms(),
            "least_ms": least, "most_ms": most, "peer_median_ms": peer, "ratio": peer.map(|peer| self.median_ms() / peer),
            "host_waits": self.host_waits(), "peak_device_bytes": self.peak_device_bytes(),
        })
    }

    fn row(&self) -> String {
        let (least, most) = self.least_and_most();
        let (peer, ratio) = match &self.peer {
            Some(peer) => (format!("{:.1}", peer.median_ms()), format!("{:.2}", self.median_ms() / peer.median_ms())),
            None => ("-".to_owned(), "-".to_owned()),
        };
        format!(
            "| {} | {} | {:.1} ({least:.1}-{most:.1}) | {peer} | {ratio} | {} | {} |",
            self.name,
            self.ours.len(),
            self.median_ms(),
            self.host_waits(),
            bytes(self.peak_device_bytes()),
        )
    }
}

/// What makes the proofs of one workload, with [`ProofArgs`](super::proofs::ProofArgs) behind its own arguments.
pub struct Driver {
    pub program: PathBuf,
    pub arguments: &'static [&'static str],
}

/// A driver's own failure.
#[derive(Debug)]
pub struct DriverFailed {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    error: String,
}

impl fmt::Display for DriverFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for DriverFailed {}

/// Proves each workload here and with the peer, prints the ratios, and returns an object for each workload.
///
/// # Errors
///
/// A driver that cannot be run or fails, records that cannot be read, a proof that was not verified.
pub fn run(args: &CompareArgs, driver: &Driver, voice: Voice) -> Result<Vec<Value>> {
    if !args.no_run {
        // before minutes of proofs; a name alone is looked for as shells do
        let lost = |peer: &&PathBuf| peer.components().nth(1).is_some() && !peer.is_file();
        if let Some(peer) = args.peer.as_ref().filter(lost) {
            bail!("no peer's driver at {}; build it, or leave --peer out", peer.display());
        }
        std::fs::create_dir_all(&args.out).wrap_err_with(|| format!("cannot make {}", args.out.display()))?;
        args.job.iter().try_for_each(|job| job.run(args, driver, voice))?;
    }
    let comparisons = args.job.iter().map(|job| job.read(&args.out)).collect::<Result<Vec<_>>>()?;
    voice.line(format_args!("{}, median (least-most), milliseconds\n", comparisons[0].ours[0].adapter));
    voice.line("| workload | proofs | this backend | peer | ratio | host waits | peak device memory |");
    voice.line("| --- | --- | --- | --- | --- | --- | --- |");
    comparisons.iter().for_each(|comparison| voice.line(comparison.row()));
    if let Some(path) = &args.svg {
        let bars = comparisons.iter().map(|comparison| Bars {
            name: comparison.name.clone(),
            ours: comparison.median_ms(),
            peer: comparison.peer.as_ref().map(PeerRun::median_ms),
        });
        let title = format!("Proving time on {}", comparisons[0].ours[0].adapter);
        draw(path, &title, "CUDA backend", &bars.collect::<Vec<_>>())?;
    }
    Ok(comparisons.iter().map(Comparison::to_json).collect())
}
