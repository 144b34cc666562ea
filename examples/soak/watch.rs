//! Memory and proofs over time.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use eyre::{ensure, Result};
use openvm_wgpu_backend::WgpuDevice;

use super::support::record::bytes;

/// What was done so far.
#[derive(Default)]
pub struct Counts {
    pub proofs: AtomicU64,
    pub verified: AtomicU64,
    pub failures: AtomicU64,
    pub given_up: AtomicU64,
    pub keys: AtomicU64,
    pub devices: AtomicU64,
}

/// At one time.
#[derive(Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    pub proofs: u64,
    /// Of this process, where the system tells; bytes.
    pub host: u64,
    /// The most that was in use on the device since the sample before; bytes.
    pub device: u64,
}

pub struct Samples(pub Vec<Sample>);

/// Samples that are kept at most: a run of hours has fewer an hour.
const MOST_SAMPLES: f64 = 600.0;

/// Memory that comes and goes: drivers cache some.
const HOST_SLACK: u64 = 48 << 20;

/// A proof more at once than before.
const DEVICE_SLACK: u64 = 16 << 20;

/// Looks until the time is over or somebody has had enough.
pub fn watch(duration: Duration, done: &AtomicBool, device: &WgpuDevice, counts: &Counts) -> Samples {
    let (start, mut samples) = (Instant::now(), vec![]);
    let every = Duration::from_secs_f64((duration.as_secs_f64() / MOST_SAMPLES).max(0.25));
    let mut next = Duration::ZERO;
    let mut told = Instant::now();
    while !done.load(Ordering::Relaxed) && start.elapsed() < duration {
        thread::sleep(Duration::from_millis(20));
        if start.elapsed() < next {
            continue;
        }
        next += every;
        let sample = Sample {
            seconds: start.elapsed().as_secs_f64(),
            proofs: counts.proofs.load(Ordering::Relaxed),
            host: resident(),
            device: device.metrics().peak_bytes,
        };
        device.reset_metrics();
        samples.push(sample);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!(
                "{:6.0} s  {:8} proofs  host {}  device {}",
                sample.seconds,
                sample.proofs,
                bytes(sample.host),
                bytes(sample.device)
            );
        }
    }
    Samples(samples)
}

/// Resident memory of this process without what its allocator keeps for later, bytes; zero where the system does not tell.
fn resident() -> u64 {
    give_back();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    4096 * pages
}

/// glibc has an arena for every few threads. Each keeps what a device took of it, up to 60 MiB, until another one needs it: that is growth for
/// as long as arenas fill, and nothing that is lost.
fn give_back() {
    // SAFETY: the function takes a number and may be called by any thread at any time
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

impl Samples {
    pub fn seconds(&self) -> f64 {
        self.0.last().map_or(0.0, |sample| sample.seconds)
    }

    /// The least in the second quarter of the run, and in the last: before, caches fill. What is lost for good raises the least, while the most
    /// depends on how many proofs and devices there happen to be at once.
    fn quarters(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let quarter = self.0.len() / 4;
        let least = |samples: &[Sample]| samples.iter().map(&of).min().unwrap_or(0);
        (least(&self.0[quarter..2 * quarter]), least(&self.0[3 * quarter..]))
    }

    /// # Errors
    ///
    /// When memory grows.
    pub fn check(&self) -> Result<()> {
        let (before, after) = self.quarters(|sample| sample.host);
        ensure!(
            after <= before + before / 20 + HOST_SLACK,
            "memory of the host grows: {} to {}",
            bytes(before),
            bytes(after)
        );
        let (before, after) = self.quarters(|sample| sample.device);
        ensure!(
            after <= before + before / 4 + DEVICE_SLACK,
            "memory of the device grows: {} to {}",
            bytes(before),
            bytes(after)
        );
        Ok(())
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, device) = (self.quarters(|sample| sample.host), self.quarters(|sample| sample.device));
        let pair = |(before, after)| format!("{} and {}", bytes(before), bytes(after));
        write!(f, "least memory in the second and the last quarter: host {}, device {}", pair(host), pair(device))
    }
}
