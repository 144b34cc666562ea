//! Apple GPUs, and what a dispatch takes on them.

use metal_on_cpu::LINE;

use super::estimator::{Sampled, Traffic};

/// Lanes of a core.
const LANES: f64 = 128.0;

/// A GPU, by published figures.
pub struct Chip {
    pub name: &'static str,
    pub cores: u32,
    clock_hz: f64,
    /// Bytes per second that it reads or writes: 88% of what the memory is sold with.
    bandwidth: f64,
    /// The system level cache, bytes: what fits is fetched once.
    cache: u64,
    /// Seconds between two dispatches that depend on each other (an assumption; 1.8 to 5 microseconds were measured on other GPUs).
    launch: f64,
}

pub const M1: Chip =
    Chip { name: "M1, 8 cores", cores: 8, clock_hz: 1.278e9, bandwidth: 60e9, cache: 8 << 20, launch: 5e-6 };

pub const M2_MAX: Chip =
    Chip { name: "M2 Max, 38 cores", cores: 38, clock_hz: 1.398e9, bandwidth: 350e9, cache: 48 << 20, launch: 5e-6 };

/// Milliseconds of a dispatch, were there nothing but one of these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    /// Issue of all instructions by all lanes.
    pub issue: f64,
    /// The same, had products and shifts no influence on the rest.
    pub overlapped: f64,
    /// The slowest SIMD group alone.
    pub latency: f64,
    pub memory: f64,
    pub launch: f64,
}

impl Time {
    pub fn new(chip: &Chip, dispatch: &Sampled) -> Self {
        let Sampled { workgroups, lane_cycles, complex_cycles, latency, .. } = dispatch;
        let ms_of_cycles = |cycles: f64| cycles / chip.clock_hz * 1e3;
        // of the busiest core: a workgroup stays on one
        let on_core = |lane_cycles: f64| f64::from(workgroups.div_ceil(chip.cores)) * lane_cycles / LANES;
        Self {
            issue: ms_of_cycles(on_core(*lane_cycles)),
            overlapped: ms_of_cycles(on_core(complex_cycles.max(lane_cycles - complex_cycles))),
            latency: ms_of_cycles(*latency as f64),
            memory: bytes(chip, dispatch) / chip.bandwidth * 1e3,
            launch: chip.launch * 1e3,
        }
    }

    /// What it takes.
    pub fn ms(&self) -> f64 {
        self.issue.max(self.latency).max(self.memory) + self.launch
    }

    /// What it would take if the pipelines overlapped wholly.
    pub fn ms_overlapped(&self) -> f64 {
        self.overlapped.max(self.latency).max(self.memory) + self.launch
    }

    /// The largest.
    pub fn bound(&self) -> &'static str {
        let all = [("issue", self.issue), ("memory", self.memory), ("latency", self.latency), ("launch", self.launch)];
        all.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or("", |(name, _)| name)
    }
}

impl std::ops::AddAssign for Time {
    fn add_assign(&mut self, other: Self) {
        self.issue += other.issue;
        self.overlapped += other.overlapped;
        self.latency += other.latency;
        self.memory += other.memory;
        self.launch += other.launch;
    }
}

/// Bytes to and from memory: the distinct lines of neighbouring workgroups, times their number; once for all workgroups where the cache
/// holds the whole binding, and written at most once.
pub fn bytes(chip: &Chip, dispatch: &Sampled) -> f64 {
    let all = |lines: u64| lines as f64 * LINE as f64 * f64::from(dispatch.workgroups) / f64::from(dispatch.neighbours);
    let of_binding = |Traffic { bytes, lines }: &Traffic| {
        let once = (*bytes as f64).max(LINE as f64);
        let read = all(lines.read);
        (if *bytes <= chip.cache { read.min(once) } else { read }) + all(lines.written).min(once)
    };
    dispatch.bindings.iter().map(of_binding).sum()
}

/// Milliseconds that a chip needs to read once all that is bound.
pub fn bound_ms(chip: &Chip, dispatch: &Sampled) -> f64 {
    dispatch.bound_bytes() as f64 / chip.bandwidth * 1e3
}
