//! The comparison table of docs/performance.md: proofs here and with a peer's driver on the same workloads, each pair in one run.

mod chart;
mod peer;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use eyre::{ensure, Result, WrapErr};

use super::record::{bytes, median, read_records, ProofRecord};
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

    fn run(&self, args: &CompareArgs, driver: &Driver) -> Result<()> {
        let status = Command::new(&driver.program)
            .args(driver.arguments)
            .args(["--workload", &self.workload, "--log-perms", &self.log_n.to_string()])
            .args(["--log-stacked-height", &self.log_stacked_height.to_string()])
            .args(["--proofs", &self.proofs.to_string(), "--warmup", &args.warmup.to_string()])
            .args(["--warm-up-ms", &args.warm_up_ms.to_string(), "--records"])
            .arg(self.file(&args.out, "json"))
            .status()
            .wrap_err_with(|| format!("cannot run {}", driver.program.display()))?;
        ensure!(status.success(), "{}: {status}", self.name());
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

    fn row(&self) -> String {
        let ms = |record: &ProofRecord| record.prove_ms;
        let least = self.ours.iter().map(ms).fold(f64::INFINITY, f64::min);
        let most = self.ours.iter().map(ms).fold(0.0, f64::max);
        let (peer, ratio) = match &self.peer {
            Some(peer) => (format!("{:.1}", peer.median_ms()), format!("{:.2}", self.median_ms() / peer.median_ms())),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let waits = self.ours.iter().map(|record| record.host_waits).max().unwrap_or(0);
        let peak = self.ours.iter().map(|record| record.peak_device_bytes).max().unwrap_or(0);
        format!(
            "| {} | {} | {:.1} ({least:.1}-{most:.1}) | {peer} | {ratio} | {waits} | {} |",
            self.name,
            self.ours.len(),
            self.median_ms(),
            bytes(peak),
        )
    }
}

/// What makes the proofs of one workload, with [`ProofArgs`](super::proofs::ProofArgs) behind its own arguments.
pub struct Driver {
    pub program: PathBuf,
    pub arguments: &'static [&'static str],
}

/// Proves each workload here and with the peer, and prints the ratios.
///
/// # Errors
///
/// A driver that cannot be run or fails, records that cannot be read, a proof that was not verified.
pub fn run(args: &CompareArgs, driver: &Driver) -> Result<()> {
    if !args.no_run {
        std::fs::create_dir_all(&args.out).wrap_err_with(|| format!("cannot make {}", args.out.display()))?;
        args.job.iter().try_for_each(|job| job.run(args, driver))?;
    }
    let comparisons = args.job.iter().map(|job| job.read(&args.out)).collect::<Result<Vec<_>>>()?;
    println!("{}, median (least-most), milliseconds\n", comparisons[0].ours[0].adapter);
    println!("| workload | proofs | this backend | peer | ratio | host waits | peak device memory |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    comparisons.iter().for_each(|comparison| println!("{}", comparison.row()));
    if let Some(path) = &args.svg {
        let bars = comparisons.iter().map(|comparison| Bars {
            name: comparison.name.clone(),
            ours: comparison.median_ms(),
            peer: comparison.peer.as_ref().map(PeerRun::median_ms),
        });
        let title = format!("Proving time on {}", comparisons[0].ours[0].adapter);
        draw(path, &title, "CUDA backend", &bars.collect::<Vec<_>>())?;
    }
    Ok(())
}
