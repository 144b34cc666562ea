//! Times of tracing spans by path, and what is running right now.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracing::{span, Subscriber};
use tracing_subscriber::{filter::EnvFilter, layer::Context, prelude::*, registry::LookupSpan, Layer};

/// All the spans with one path: the names from the root on, joined by `/`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTime {
    pub path: String,
    pub total: Duration,
    pub count: u32,
}

impl SpanTime {
    /// How many spans this one lies in.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub fn ms(&self) -> f64 {
        self.total.as_secs_f64() * 1e3
    }
}

#[derive(Default)]
struct State {
    /// In the order in which each path was first entered, so parents before children.
    spans: Vec<SpanTime>,
    index: HashMap<String, usize>,
    /// The spans that are open, in the order of opening.
    open: Vec<(span::Id, String, Instant)>,
}

/// A tracing layer that sums the wall time of spans by path. Clones share what they collect.
#[derive(Clone, Default)]
pub struct SpanCollector(Arc<Mutex<State>>);

struct Opened {
    path: String,
    at: Instant,
}

impl SpanCollector {
    /// Makes a collector of spans of level info the process's subscriber. `RUST_LOG` overrides
    /// which spans are collected.
    pub fn install() -> Self {
        let collector = Self::default();
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,p3_=warn"));
        tracing_subscriber::registry().with(filter).with(collector.clone()).init();
        collector
    }

    /// The spans that closed since the last call, parents before children.
    pub fn take(&self) -> Vec<SpanTime> {
        let mut state = self.state();
        state.index.clear();
        let mut spans = std::mem::take(&mut state.spans);
        drop(state);
        spans.retain(|span| span.count > 0);
        in_tree_order(spans)
    }

    /// The span opened last and for how long it has been running.
    fn running(&self) -> Option<(String, Duration)> {
        let state = self.state();
        state.open.last().map(|(_, path, at)| (path.clone(), at.elapsed()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics while it holds this lock")
    }
}

/// Sorts so that each span follows its parent and siblings keep their order.
fn in_tree_order(spans: Vec<SpanTime>) -> Vec<SpanTime> {
    let position: HashMap<String, usize> = spans.iter().enumerate().map(|(i, span)| (span.path.clone(), i)).collect();
    // a path's key: the positions of its prefixes; a prefix that never closed sorts with its child
    let key = |path: &str| -> Vec<usize> {
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
        ends.map(|end| position.get(&path[..end]).copied().unwrap_or(position[path])).collect()
    };
    let mut keyed: Vec<_> = spans.into_iter().map(|span| (key(&span.path), span)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.into_iter().map(|(_, span)| span).collect()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanCollector {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Opened>().map(|o| o.path.clone()));
        let path = match parent {
            Some(parent) => format!("{parent}/{}", span.name()),
            None => span.name().to_string(),
        };
        let at = Instant::now();
        let mut state = self.state();
        if !state.index.contains_key(&path) {
            let next = state.spans.len();
            state.index.insert(path.clone(), next);
            let total = Duration::ZERO;
            state.spans.push(SpanTime { path: path.clone(), total, count: 0 });
        }
        state.open.push((id.clone(), path.clone(), at));
        drop(state);
        span.extensions_mut().insert(Opened { path, at });
    }

    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let extensions = span.extensions();
        let Some(opened) = extensions.get::<Opened>() else {
            return;
        };
        let elapsed = opened.at.elapsed();
        let mut state = self.state();
        state.open.retain(|(open, ..)| *open != id);
        if let Some(&i) = state.index.get(&opened.path) {
            state.spans[i].total += elapsed;
            state.spans[i].count += 1;
        }
    }
}

/// What of a run is printed.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    /// What was measured, on stdout.
    pub results: bool,
    /// What is being done, on stderr.
    pub progress: bool,
}

impl Voice {
    /// Everything.
    pub const FULL: Self = Self { results: true, progress: true };

    /// A line of what was measured.
    pub fn line(self, line: impl std::fmt::Display) {
        if self.results {
            // a reader that has left is no reason to stop proving
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// A line about what is being done.
    pub fn note(self, line: impl std::fmt::Display) {
        if self.progress {
            // a closed stderr is no reason either
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// Says on stderr what is being done, and while it takes long, which span is running.
pub struct Progress {
    started: Instant,
    voice: Voice,
    quiet: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
    what: Arc<Mutex<(String, Instant)>>,
}

/// How often a step that takes long says so.
const TICK: Duration = Duration::from_secs(2);

impl Progress {
    /// Starts watching the spans of `collector`.
    pub fn new(collector: &SpanCollector, voice: Voice) -> Self {
        let quiet = Arc::new(AtomicBool::new(false));
        let what = Arc::new(Mutex::new((String::new(), Instant::now())));
        let (collector, stop, step) = (collector.clone(), quiet.clone(), what.clone());
        let ticker = std::thread::spawn(move || loop {
            std::thread::park_timeout(TICK);
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (step, since) = step.lock().expect("no thread panics while it holds this").clone();
            if step.is_empty() || since.elapsed() < TICK {
                continue;
            }
            let span = match collector.running() {
                Some((path, time)) => {
                    let name = path.rsplit('/').next().unwrap_or(&path);
                    format!(": {name} for {:.1} s", time.as_secs_f64())
                }
                None => String::new(),
            };
            voice.note(format_args!("    ... {step}, {:.1} s{span}", since.elapsed().as_secs_f64()));
        });
        Self { started: Instant::now(), voice, quiet, ticker: Some(ticker), what }
    }

    /// Does one step, saying that it starts and how long it took.
    pub fn step<T>(&self, what: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let what = what.into();
        let at = Instant::now();
        self.watch(what.clone(), at);
        let since_start = self.started.elapsed().as_secs_f64();
        self.voice.note(format_args!("[{since_start:7.2} s] {what}"));
        let result = work();
        self.watch(String::new(), at);
        let seconds = at.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            self.voice.note(format_args!("    {what} took {seconds:.2} s"));
        }
        result
    }

    fn watch(&self, what: String, at: Instant) {
        *self.what.lock().expect("no thread panics while it holds this") = (what, at);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // the ticker cannot panic while it holds nothing; nobody waits for its result
            let _ = ticker.join();
        }
    }
}
