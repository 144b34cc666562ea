//! What is being done: bars on a terminal, lines elsewhere, nothing if asked so.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex, OnceLock,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use openvm_wgpu_backend::{
    openvm::{AggregationStep, SegmentPlace, SegmentReport},
    Gpu,
};

use crate::{recording::Recorder, session::Speech, support::record::bytes};

/// How often memory is looked at and bars are drawn.
const TICK: Duration = Duration::from_millis(100);

struct Shared {
    bar: Option<ProgressBar>,
    /// What the bar says, before the device's state.
    text: Mutex<String>,
    gpus: OnceLock<Vec<Gpu>>,
    stopped: AtomicBool,
    recorder: Recorder,
}

/// The progress of a command.
pub struct Watch {
    speech: Speech,
    started: Instant,
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
    /// When proving began, with all instructions.
    proving: Mutex<Option<(Instant, u64)>>,
    /// Instructions whose proofs were made since, and whose proofs were there.
    proved: AtomicU64,
    kept: AtomicU64,
}

impl Watch {
    pub fn new(speech: Speech, recorder: Recorder) -> Self {
        let bar = speech.is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}").expect("a template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        let shared =
            Shared { bar, text: Mutex::default(), gpus: OnceLock::new(), stopped: AtomicBool::new(false), recorder };
        let shared = Arc::new(shared);
        let ticking = shared.clone();
        let ticker = std::thread::spawn(move || {
            while !ticking.stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                ticking.tick();
            }
        });
        let (proved, kept) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { speech, started: Instant::now(), shared, ticker: Some(ticker), proving: Mutex::new(None), proved, kept }
    }

    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// The devices whose memory and kernels are shown.
    pub fn devices(&self, gpus: Vec<Gpu>) {
        match &gpus[..] {
            [gpu] => self.line(format!("device: {}", gpu.adapter())),
            several => {
                several.iter().enumerate().for_each(|(at, gpu)| self.line(format!("GPU {at}: {}", gpu.adapter())))
            }
        }
        self.shared.recorder.devices(&gpus);
        // they are opened once
        let _ = self.shared.gpus.set(gpus);
    }

    /// ` on GPU 1` where there are several.
    fn on(&self, device: Option<usize>) -> String {
        let several = self.shared.gpus.get().is_some_and(|gpus| gpus.len() > 1);
        device.filter(|_| several).map_or(String::new(), |device| format!(" on GPU {device}"))
    }

    /// Does one step, and says so.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        self.message(what);
        if self.shared.bar.is_none() {
            self.line(what.to_owned());
        }
        let span = tracing::info_span!("step", what);
        let at = self.shared.recorder.now();
        let result = span.in_scope(work);
        self.shared.recorder.step(what, at);
        result
    }

    /// The segments are known.
    pub fn begin(&self, segments: &[SegmentPlace]) {
        let instructions = segments.iter().map(|place| place.instructions).sum();
        *self.proving.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((Instant::now(), instructions));
        self.line(format!("{} segments, {instructions} instructions", segments.len()));
        if let Some(bar) = &self.shared.bar {
            let template = "{spinner} [{elapsed_precise}] {bar:30} {pos}/{len} segments, {msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("a template"));
            bar.set_length(segments.len() as u64);
        }
    }

    /// A segment is proved.
    pub fn segment(&self, report: &SegmentReport) {
        let count = if report.kept { &self.kept } else { &self.proved };
        count.fetch_add(report.instructions, Ordering::Relaxed);
        self.shared.recorder.segment(report);
        let pace = self.pace();
        if let Some(bar) = &self.shared.bar {
            bar.inc(1);
        }
        self.message(&pace);
        let number = format!("segment {} of {}", report.segment + 1, report.segments);
        match report.kept {
            true => self.line(format!("{number}: its proof was there")),
            false => self.line(format!(
                "{number}: {} instructions, {:.1} M cells, proved in {:.2} s{}; {pace}",
                report.instructions,
                report.cells as f64 / 1e6,
                report.proving.as_secs_f64(),
                self.on(report.device)
            )),
        }
    }

    /// A proof of the aggregation is made.
    pub fn node(&self, step: &AggregationStep) {
        self.shared.recorder.node(step);
        let what = format!("{} proof of {} children", step.level, step.children);
        self.message(&what);
        match step.kept {
            true => self.line(format!("{what}: it was there")),
            false => self.line(format!("{what}: {:.2} s{}", step.proving.as_secs_f64(), self.on(step.device))),
        }
    }

    /// `1.2 M instructions/s, 34 s to go`
    fn pace(&self) -> String {
        let proving = *self.proving.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some((since, instructions)) = proving else { return String::new() };
        let (proved, kept) = (self.proved.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed));
        let rate = proved as f64 / since.elapsed().as_secs_f64().max(1e-9);
        let left = instructions.saturating_sub(proved + kept) as f64;
        match left / rate {
            seconds if seconds.is_finite() => format!("{:.2} M instructions/s, {seconds:.0} s to go", rate / 1e6),
            _ => "the rate is not known yet".to_owned(),
        }
    }

    /// A line in the log; above the bar where there is one.
    fn line(&self, line: String) {
        let line = format!("[{:8.2} s] {line}", self.started.elapsed().as_secs_f64());
        match &self.shared.bar {
            Some(bar) => bar.println(line),
            None => self.speech.note(&line),
        }
    }

    fn message(&self, text: &str) {
        text.clone_into(&mut self.shared.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        self.shared.show();
    }

    /// Takes the bars away.
    pub fn end_bars(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(bar) = &self.shared.bar {
            bar.finish_and_clear();
        }
    }

    /// Says that the process will wait at its end, where kernels are still being compiled.
    pub fn waits_for_kernels(&self) {
        if self.shared.kernels().0 > 0 {
            let line = "waiting for kernels in the driver's compiler, which later proofs will have; Ctrl-C twice leaves at once";
            self.speech.note(line);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end_bars();
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // it holds nothing and returns nothing
            let _ = ticker.join();
        }
    }
}

impl Shared {
    fn tick(&self) {
        if let Some(gpus) = self.gpus.get() {
            let bytes: Vec<_> = gpus.iter().map(|gpu| gpu.metrics().bytes_in_use).collect();
            self.recorder.memory(&bytes);
        }
        self.show();
    }

    /// Shows the text, with the device's state as it is now.
    fn show(&self) {
        if let Some(bar) = &self.bar {
            let text = self.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            bar.set_message(format!("{text}{}", self.state()));
        }
    }

    /// Generated kernels of all devices: those that are not compiled yet, and those that are.
    fn kernels(&self) -> (usize, usize) {
        let progress = self.gpus.get().into_iter().flatten().map(Gpu::kernel_progress);
        progress.fold((0, 0), |sum, one| (sum.0 + one.pending, sum.1 + one.done))
    }

    /// Device memory, and kernels that are being compiled.
    fn state(&self) -> String {
        let Some(gpus) = self.gpus.get() else { return String::new() };
        let memory = gpus.iter().map(|gpu| gpu.metrics().bytes_in_use).sum();
        let kernels = match self.kernels() {
            (0, _) => String::new(),
            (pending, done) => format!("; compiling {pending} of {} kernels", pending + done),
        };
        format!("; {} of device memory{kernels}", bytes(memory))
    }
}
