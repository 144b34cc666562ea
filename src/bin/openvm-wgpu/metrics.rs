//! Metrics under upstream's names, for Prometheus: in a file, or where it asks.
//!
//! As upstream's `TimingMetricsLayer`, each span that closes sets the gauge `NAME_time_ms`, with the span's text fields as labels. What
//! upstream counts in its features `metrics` is counted from this program's reports: `execute_metered_insns`, `num_segments`, `main_cells_used`.

use std::{fmt::Debug, net::SocketAddr, path::PathBuf, time::Instant};

use clap::Args;
use metrics::{counter, gauge, Label};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::{
    field::{Field, Visit},
    span, Level, Subscriber,
};
use tracing_subscriber::{filter::EnvFilter, layer::Context, prelude::*, registry::LookupSpan, Layer};

use crate::{
    failure::{Failure, Result},
    recording::{Record, Recorder},
};

/// Where metrics go.
#[derive(Args, Clone, Debug, Default)]
pub struct MetricsArgs {
    /// Write metrics in Prometheus' text form when it has ended
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    metrics: Option<PathBuf>,
    /// Answer Prometheus at this address while it runs, as 127.0.0.1:9100
    #[arg(long, value_name = "ADDRESS", help_heading = "Pictures")]
    metrics_listen: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Makes the recorder and, where metrics are wanted, their layer listen to spans.
    pub fn install(&self, recorder: &Recorder) -> Result<()> {
        let wanted = self.metrics.is_some() || self.metrics_listen.is_some();
        let layer = wanted.then_some(TimingLayer);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,p3_=warn"));
        let subscriber = tracing_subscriber::registry().with(filter).with(recorder.clone()).with(layer);
        subscriber.try_init().map_err(|error| Failure::usage(format!("cannot record spans: {error}")))?;
        if !wanted {
            return Ok(());
        }
        if let Some(path) = &self.metrics {
            crate::files::writable(path)?;
        }
        let handle = PrometheusBuilder::new().install_recorder();
        let handle = handle.map_err(|error| Failure::usage(format!("cannot record metrics: {error}")))?;
        if let Some(address) = self.metrics_listen {
            answer(address, handle.clone())?;
        }
        HANDLE.set(handle).map_err(|_| Failure::usage("metrics are recorded already"))
    }

    /// Counts what the run did, and writes the file.
    pub fn finish(&self, record: &Record) -> Result<()> {
        let Some(handle) = HANDLE.get() else { return Ok(()) };
        counter!("execute_metered_insns").absolute(record.segments.iter().map(|segment| segment.instructions).sum());
        counter!("num_segments").absolute(record.segments.len() as u64);
        counter!("main_cells_used").absolute(record.segments.iter().map(|segment| segment.cells as u64).sum());
        gauge!("total_proof_time_ms").set(record.seconds * 1e3);
        gauge!("gpu_mem.max_bytes").set(record.peak_bytes as f64);
        counter!("gpu_host_waits").absolute(record.host_waits);
        match &self.metrics {
            Some(path) => std::fs::write(path, handle.render())
                .map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error)),
            None => Ok(()),
        }
    }
}

static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();

/// Answers every request with the metrics, until the process ends.
fn answer(address: SocketAddr, handle: PrometheusHandle) -> Result<()> {
    let server = tiny_http::Server::http(address).map_err(|error| {
        Failure::usage(format!("cannot listen at {address}: {error}; choose another --metrics-listen"))
    })?;
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            // whoever has left needs no answer
            let _ = request.respond(tiny_http::Response::from_string(handle.render()));
        }
    });
    Ok(())
}

/// Sets a gauge for each span, as upstream's layer does.
#[derive(Clone, Copy)]
struct TimingLayer;

struct Timing {
    start: Instant,
    labels: Vec<Label>,
}

#[derive(Default)]
struct Labels(Vec<Label>);

impl Visit for Labels {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push(Label::new(field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TimingLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|span| span.metadata().level() <= &Level::INFO) {
            let mut labels = Labels::default();
            attributes.record(&mut labels);
            span.extensions_mut().insert(Timing { start: Instant::now(), labels: labels.0 });
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let timing = span.extensions_mut().remove::<Timing>();
        if let Some(Timing { start, labels }) = timing {
            let name = format!("{}_time_ms", span.name());
            gauge!(name, labels).set(start.elapsed().as_secs_f64() * 1e3);
        }
    }
}
