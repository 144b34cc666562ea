//! What happened when, for pictures: host spans by thread, segments, nodes, device memory, kernels.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex, MutexGuard,
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use openvm_wgpu_backend::{
    openvm::{AggregationStep, SegmentReport},
    report::KernelRun,
    Gpu,
};
use serde::{Deserialize, Serialize};
use tracing::{span, Subscriber};
use tracing_subscriber::{layer::Context, registry::LookupSpan, Layer};

/// A run. Times are seconds since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The devices' names, in one line.
    pub adapter: String,
    pub driver: String,
    /// Each device's name: the numbers of devices count here.
    #[serde(default)]
    pub devices: Vec<String>,
    pub host: String,
    /// Seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
    pub steps: Vec<Interval>,
    pub segments: Vec<Segment>,
    pub nodes: Vec<Interval>,
    pub spans: Vec<Interval>,
    /// Device memory in use, summed over the devices: time and bytes, where it changed.
    pub memory: Vec<(f64, u64)>,
    /// The same of each device, where there are several.
    #[serde(default)]
    pub memory_of: Vec<Vec<(f64, u64)>>,
    /// Device time by kernel: milliseconds and dispatches.
    pub kernels: BTreeMap<String, (f64, u64)>,
    /// The devices' own times, where they have any.
    pub device: Vec<Interval>,
    pub host_waits: u64,
    /// Of the device with the most.
    pub peak_bytes: u64,
}

/// Something with a begin and an end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub name: String,
    /// A thread of the host for spans, the number of the device for nodes and kernels.
    #[serde(default)]
    pub thread: u64,
    pub begin: f64,
    pub end: f64,
}

/// A segment: when its proof ended, and what took how long.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Segment {
    pub segment: usize,
    pub instructions: u64,
    pub cells: usize,
    pub end: f64,
    pub execution: f64,
    pub waiting: f64,
    pub trace_generation: f64,
    pub proving: f64,
    /// Whether the proof was there already.
    pub kept: bool,
    /// The number of the device that proved it.
    #[serde(default)]
    pub device: usize,
}

/// Collects a [`Record`]; clones share it. As a tracing layer it collects spans if it was asked to.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    record: Arc<Mutex<Record>>,
    gpus: Arc<Mutex<Vec<Gpu>>>,
    with_spans: bool,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Recorder {
    /// `with_spans`: host spans as well, which are many.
    pub fn new(with_spans: bool) -> Self {
        let record = Record {
            version: env!("CARGO_PKG_VERSION").into(),
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "),
            host: host(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            ..Record::default()
        };
        Self { start: Instant::now(), record: Arc::new(Mutex::new(record)), gpus: Arc::default(), with_spans }
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The devices that work.
    pub fn devices(&self, gpus: &[Gpu]) {
        let mut record = self.record();
        record.devices = gpus.iter().map(|gpu| gpu.adapter().to_string()).collect();
        record.adapter = record.devices.join("; ");
        let mut drivers: Vec<_> = gpus.iter().map(|gpu| gpu.adapter().driver.clone()).collect();
        drivers.dedup();
        record.driver = drivers.join("; ");
        record.memory_of = if gpus.len() > 1 { vec![vec![]; gpus.len()] } else { vec![] };
        drop(record);
        *self.gpus.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = gpus.to_vec();
    }

    pub fn step(&self, name: &str, begin: f64) {
        let end = self.now();
        self.record().steps.push(Interval { name: name.into(), thread: 0, begin, end });
    }

    pub fn segment(&self, report: &SegmentReport) {
        let end = self.now();
        self.record().segments.push(Segment {
            segment: report.segment,
            instructions: report.instructions,
            cells: report.cells,
            end,
            execution: report.execution.as_secs_f64(),
            waiting: report.waiting.as_secs_f64(),
            trace_generation: report.trace_generation.as_secs_f64(),
            proving: report.proving.as_secs_f64(),
            kept: report.kept,
            device: report.device.unwrap_or(0),
        });
    }

    pub fn node(&self, step: &AggregationStep) {
        let end = self.now();
        let name = format!("{} of {}", step.level, step.children);
        let (thread, begin) = (step.device.unwrap_or(0) as u64, end - step.proving.as_secs_f64());
        self.record().nodes.push(Interval { name, thread, begin, end });
    }

    /// Memory in use on each device.
    pub fn memory(&self, bytes: &[u64]) {
        let at = self.now();
        let mut record = self.record();
        let Record { memory, memory_of, .. } = &mut *record;
        let sum = bytes.iter().sum();
        for (series, bytes) in std::iter::once((memory, &sum)).chain(memory_of.iter_mut().zip(bytes)) {
            if series.last().is_none_or(|(_, last)| last != bytes) {
                series.push((at, *bytes));
            }
        }
    }

    /// What was collected.
    pub fn finish(&self) -> Record {
        let mut record = self.record().clone();
        record.seconds = self.now();
        let since = |at: Instant| at.saturating_duration_since(self.start).as_secs_f64();
        let gpus = self.gpus.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (number, gpu) in gpus.iter().enumerate() {
            let metrics = gpu.metrics();
            record.host_waits += metrics.host_waits;
            record.peak_bytes = record.peak_bytes.max(metrics.peak_bytes);
            let run = |run: KernelRun| {
                let (begin, end) = (since(run.begin), since(run.end));
                Interval { begin, end, name: run.name, thread: number as u64 }
            };
            record.device.extend(gpu.kernel_runs().into_iter().map(run));
            for (name, time) in gpu.kernel_times() {
                let (ms, count) = record.kernels.entry(name).or_default();
                (*ms, *count) = (*ms + time.ms, *count + time.count);
            }
        }
        record
    }
}

struct Opened {
    at: f64,
    thread: u64,
}

impl Record {
    /// `GPU 1` where there are several, `device` where there is one.
    pub fn name_of(&self, device: usize) -> String {
        if self.devices.len() > 1 {
            format!("GPU {device}")
        } else {
            "device".into()
        }
    }

    /// `, GPU 1` where there are several.
    pub fn on(&self, device: usize) -> String {
        if self.devices.len() > 1 {
            format!(", GPU {device}")
        } else {
            String::new()
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|_| self.with_spans) {
            span.extensions_mut().replace(Opened { at: self.now(), thread: thread_number() });
        }
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|_| self.with_spans) else { return };
        let opened = span.extensions_mut().remove::<Opened>();
        if let Some(Opened { at, thread }) = opened {
            let end = self.now();
            self.record().spans.push(Interval { name: span.name().into(), thread, begin: at, end });
        }
    }
}

/// A small number for the current thread.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

/// `linux x86_64, 16 threads, 126 GiB`
fn host() -> String {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let memory = std::fs::read_to_string("/proc/meminfo").ok();
    let memory = memory.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    let memory = memory.map_or(String::new(), |kib| format!(", {} GiB", kib >> 20));
    format!("{} {}, {threads} threads{memory}", std::env::consts::OS, std::env::consts::ARCH)
}
