//! Metrics under upstream's names, for Prometheus: in a file, or where it asks.
//!
//! As upstream's `TimingMetricsLayer`, each span that closes sets the gauge `NAME_time_ms`, with the span's text fields as labels. What
//! upstream counts in its features `metrics` is counted from this program's reports (`execute_metered_insns`) and, by AIR, from the key and
//! the proofs ([`MetricsArgs::count`]).

use std::{fmt::Debug, net::SocketAddr, path::PathBuf, time::Instant};

use clap::Args;
use metrics::{counter, gauge, Label};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use openvm_circuit::arch::ContinuationVmProof;
use openvm_sdk::SC;
use openvm_stark_backend::{keygen::types::MultiStarkProvingKey, proof::Proof};
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

    /// Counts by AIR what upstream's key generation and provers count: constraints, and the rows and cells of each segment's traces.
    pub fn count(&self, pk: &MultiStarkProvingKey<SC>, proof: &ContinuationVmProof<SC>) {
        if HANDLE.get().is_none() {
            return;
        }
        for (id, air) in pk.per_air.iter().enumerate() {
            let labels = [("air_name", air.air_name.clone()), ("air_id", id.to_string())];
            let symbolic = &air.vk.symbolic_constraints;
            counter!("constraint_deg", &labels).absolute(air.vk.max_constraint_degree.into());
            counter!("constraints", &labels).absolute(symbolic.constraints.constraint_idx.len() as u64);
            counter!("interactions", &labels).absolute(symbolic.interactions.len() as u64);
            counter!("need_rot", &labels).absolute(air.vk.params.need_rot.into());
        }
        proof.per_segment.iter().enumerate().for_each(|(segment, proof)| count_traces(pk, segment, proof));
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
            Some(path) => crate::files::write_text(path, &handle.render()),
            None => Ok(()),
        }
    }
}

/// As upstream's `TraceMetrics`, with the segment as a label.
fn count_traces(pk: &MultiStarkProvingKey<SC>, segment: usize, proof: &Proof<SC>) {
    let height = |id: usize| proof.trace_vdata.get(id)?.as_ref().map(|trace| 1u64 << trace.log_height);
    let segment = segment.to_string();
    let mut all = 0;
    for (id, air) in pk.per_air.iter().enumerate() {
        let Some(rows) = height(id) else { continue };
        let width = &air.vk.params.width;
        let main = (width.cached_mains.iter().sum::<usize>() + width.common_main) as u64;
        let labels = [("air_name", air.air_name.clone()), ("air_id", id.to_string()), ("segment", segment.clone())];
        counter!("rows", &labels).absolute(rows);
        counter!("cells", &labels).absolute(rows * main);
        counter!("prep_cols", &labels).absolute(width.preprocessed.unwrap_or(0) as u64);
        counter!("main_cols", &labels).absolute(main);
        all += rows * main;
    }
    counter!("total_cells", "segment" => segment.clone()).absolute(all);
    for (index, limit) in pk.trace_height_constraints.iter().enumerate() {
        let weighted = |(id, factor): (usize, &u32)| height(id).unwrap_or(0) * u64::from(*factor);
        let sum = limit.coefficients.iter().enumerate().map(weighted).sum();
        let labels = [("trace_height_constraint", index.to_string()), ("segment", segment.clone())];
        counter!("weighted_sum", &labels).absolute(sum);
        counter!("threshold", &labels).absolute(limit.threshold.into());
    }
}

/// Answers Prometheus at this address, for a command that counts by itself.
#[cfg(feature = "fleet")]
pub fn listen(address: SocketAddr) -> Result<()> {
    let handle = PrometheusBuilder::new().install_recorder();
    answer(address, handle.map_err(|error| Failure::usage(format!("cannot record metrics: {error}")))?)
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
