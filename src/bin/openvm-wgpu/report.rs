//! `report`: one page about a run, that needs neither a network nor a script.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use crate::{
    failure::Result,
    files,
    recording::{Interval, Record, Segment},
    session::Speech,
    support::record::bytes,
    trace::rows,
};

/// Options of `report`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::REPORT)]
pub struct ReportArgs {
    /// What `prove .. --record FILE` wrote
    record: PathBuf,
    /// An earlier record to compare with
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Where the page goes
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

pub fn report(args: &ReportArgs, speech: Speech) -> Result<()> {
    let advice = "make one with `openvm-wgpu prove app --record FILE`";
    let read = |path: &Path| files::read_json::<Record>(path, "record", advice);
    let record = read(&args.record)?;
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    files::writable(&args.output)?;
    files::write_text(&args.output, &page(&record, baseline.as_ref()))?;
    let text = format!("wrote {}", args.output.display());
    speech.result(json!({ "ok": true, "command": "report", "page": args.output.to_string_lossy() }), &text)
}

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;color:#2d3748;max-width:1000px;margin:2em auto;padding:0 1em}\
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}\
td,th{padding:.15em .8em .15em 0;text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;background:#f7fafc}\
svg text{font:12px system-ui,sans-serif;fill:#2d3748}.key i{display:inline-block;width:1em;height:.8em;margin:0 .3em 0 1em}";

/// What a colour stands for.
const COLOURS: [(&str, &str); 6] = [
    ("execution", "#38a169"),
    ("trace generation", "#dd6b20"),
    ("waiting", "#a0aec0"),
    ("proof", "#2b6cb0"),
    ("aggregation", "#805ad5"),
    ("kernels", "#c53030"),
];

const WIDTH: f64 = 960.;
const LEFT: f64 = 130.;

fn colour(what: &str) -> &'static str {
    COLOURS.iter().find(|(name, _)| *name == what).map_or("#718096", |(_, colour)| colour)
}

/// The page.
fn page(record: &Record, baseline: Option<&Record>) -> String {
    let mut page = String::from("<!doctype html><html lang=en><meta charset=utf-8><title>openvm-wgpu run</title>");
    let _ = write!(page, "<style>{STYLE}</style>");
    let _ = write!(page, "<h1>{:.2} s: {}</h1>", record.seconds, escape(&record.command));
    let facts = [
        ("device", record.adapter.clone()),
        ("driver", record.driver.clone()),
        ("host", record.host.clone()),
        ("openvm-wgpu", format!("{}, OpenVM {}", record.version, openvm_sdk::OPENVM_VERSION)),
        ("segments", record.segments.len().to_string()),
        ("instructions", instructions(record).to_string()),
        ("most device memory", bytes(record.peak_bytes)),
        ("host waits", record.host_waits.to_string()),
    ];
    page += &table(&["", ""], facts.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]));
    page += "<h2>Timeline</h2><p class=key>";
    for (name, colour) in COLOURS {
        let _ = write!(page, "<i style=\"background:{colour}\"></i>{name}");
    }
    let _ = write!(page, "</p>{}<h2>Where the time went</h2>{}", timeline(record), parts(record));
    let _ = write!(page, "<h2>Device memory</h2>{}", memory(record));
    if !record.kernels.is_empty() {
        let _ = write!(page, "<h2>Kernels by time</h2>{}", kernels(record));
    }
    if let Some(baseline) = baseline {
        let _ = write!(page, "<h2>Against an earlier run</h2>{}", comparison(record, baseline));
    }
    page + "</html>\n"
}

fn instructions(record: &Record) -> u64 {
    record.segments.iter().map(|segment| segment.instructions).sum()
}

/// The four parts of a segment on the clock: they follow each other, up to the end of the proof.
fn phases(segment: &Segment) -> [(&'static str, f64, f64); 4] {
    let proof = segment.end - segment.proving;
    let traces = proof - segment.trace_generation;
    let waiting = traces - segment.waiting;
    [
        ("execution", waiting - segment.execution, waiting),
        ("waiting", waiting, traces),
        ("trace generation", traces, proof),
        ("proof", proof, segment.end),
    ]
}

fn timeline(record: &Record) -> String {
    let mut lines: Vec<(String, Vec<Interval>)> = vec![("steps".into(), record.steps.clone())];
    let proved = record.segments.iter().filter(|segment| !segment.kept);
    for segment in proved {
        let interval = |(name, begin, end): (&str, f64, f64)| Interval { name: name.into(), thread: 0, begin, end };
        let number = format!("segment {}{}", segment.segment, record.on(segment.device));
        lines.push((number, phases(segment).map(interval).to_vec()));
    }
    for device in 0..record.devices.len().max(1) {
        let own = |intervals: &[Interval]| -> Vec<Interval> {
            intervals.iter().filter(|interval| interval.thread == device as u64).cloned().collect()
        };
        let node = |node| Interval { name: "aggregation".into(), ..node };
        let nodes = rows(own(&record.nodes).into_iter().map(node).collect());
        lines.extend(nodes.into_iter().map(|row| (format!("aggregation{}", record.on(device)), row)));
        let kernels = own(&record.device);
        if !kernels.is_empty() {
            lines.push((record.name_of(device), merged(&kernels)));
        }
    }
    let (row, scale) = (22., (WIDTH - LEFT) / record.seconds.max(1e-9));
    let height = row * lines.len() as f64 + 24.;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=img>");
    for (at, (name, intervals)) in lines.iter().enumerate() {
        let y = row * at as f64 + 4.;
        let _ = write!(svg, "<text x=4 y={:.0}>{}</text>", y + 13., escape(name));
        for Interval { name, begin, end, .. } in intervals {
            let (x, width) = (LEFT + begin.max(0.) * scale, ((end - begin) * scale).max(0.5));
            let title = format!("{}: {:.3} s", escape(name), end - begin);
            let colour = colour(name);
            let _ = write!(
                svg,
                "<rect x={x:.2} y={y} width={width:.2} height=16 fill=\"{colour}\"><title>{title}</title></rect>"
            );
        }
    }
    svg + &axis(record.seconds, height) + "</svg>"
}

/// Seconds below a picture.
fn axis(seconds: f64, height: f64) -> String {
    let tick = |part: u32| {
        let x = LEFT + (WIDTH - LEFT - 40.) * f64::from(part) / 5.;
        let at = seconds * (x - LEFT) / (WIDTH - LEFT);
        format!("<text x={x:.0} y={:.0}>{at:.2} s</text>", height - 6.)
    };
    (0..=5).map(tick).collect()
}

/// The device's kernels with gaps below a millisecond closed, so that a long run stays a small page.
fn merged(kernels: &[Interval]) -> Vec<Interval> {
    let mut sorted: Vec<&Interval> = kernels.iter().collect();
    sorted.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let mut merged: Vec<Interval> = vec![];
    for kernel in sorted {
        match merged.last_mut().filter(|last| kernel.begin <= last.end + 1e-3) {
            Some(last) => last.end = last.end.max(kernel.end),
            None => merged.push(Interval { name: "kernels".into(), ..kernel.clone() }),
        }
    }
    merged
}

/// Sums over segments, nodes and steps, and what of the whole they are.
fn totals(record: &Record) -> BTreeMap<String, f64> {
    let mut totals = BTreeMap::new();
    let mut add = |name: &str, seconds: f64| *totals.entry(name.to_owned()).or_default() += seconds;
    for segment in &record.segments {
        for (name, begin, end) in phases(segment) {
            add(&format!("segments: {name}"), end - begin);
        }
    }
    record.nodes.iter().for_each(|node| add("aggregation", node.end - node.begin));
    record.steps.iter().for_each(|step| add(&format!("step: {}", step.name), step.end - step.begin));
    add("all", record.seconds);
    totals
}

fn parts(record: &Record) -> String {
    let mut totals: Vec<_> = totals(record).into_iter().collect();
    totals.sort_by(|a, b| b.1.total_cmp(&a.1));
    let row = |(name, seconds): (String, f64)| {
        let share = 100. * seconds / record.seconds.max(1e-9);
        vec![escape(&name), format!("{seconds:.3} s"), format!("{share:.0} %")]
    };
    let note = "<p>Sums: what ran at the same time counts several times.</p>";
    table(&["what", "time", "of the run"], totals.into_iter().map(row)) + note
}

fn memory(record: &Record) -> String {
    let most = record.memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1);
    let (height, scale) = (160., (WIDTH - LEFT) / record.seconds.max(1e-9));
    let y = |bytes: u64| 10. + 120. * (1. - bytes as f64 / most as f64);
    let mut path = format!("M{LEFT} 130");
    for (at, bytes) in &record.memory {
        let _ = write!(path, "H{:.2}V{:.2}", LEFT + at * scale, y(*bytes));
    }
    let _ = write!(path, "H{WIDTH}V130Z");
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=img><text x=4 y=20>{}</text><path d=\"{path}\" fill=\"#2c7a7b\"/>{}</svg>",
        bytes(most),
        axis(record.seconds, height)
    )
}

fn kernels(record: &Record) -> String {
    let all: f64 = record.kernels.values().map(|(ms, _)| ms).sum();
    let mut kernels: Vec<_> = record.kernels.iter().collect();
    kernels.sort_by(|a, b| b.1 .0.total_cmp(&a.1 .0));
    let row = |(name, (ms, count)): (&String, &(f64, u64))| {
        vec![escape(name), format!("{ms:.2} ms"), count.to_string(), format!("{:.1} %", 100. * ms / all.max(1e-9))]
    };
    table(&["kernel", "time", "dispatches", "of all"], kernels.into_iter().take(40).map(row))
}

fn comparison(record: &Record, baseline: &Record) -> String {
    let (after, before) = (totals(record), totals(baseline));
    let names: std::collections::BTreeSet<_> = after.keys().chain(before.keys()).collect();
    let row = |name: &String| {
        let show = |totals: &BTreeMap<String, f64>| totals.get(name).map_or("-".into(), |s| format!("{s:.3} s"));
        let change = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) if *before > 0. => format!("{:+.1} %", 100. * (after / before - 1.)),
            _ => String::new(),
        };
        vec![escape(name), show(&before), show(&after), change]
    };
    let note = format!("<p>Before: {} on {}.</p>", escape(&baseline.command), escape(&baseline.adapter));
    note + &table(&["what", "before", "after", "change"], names.into_iter().map(row))
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let row = |tag: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let rows: String = rows.map(|cells| row("td", &cells)).collect();
    format!("<table>{}{rows}</table>", row("th", &head))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(begin: f64, end: f64) -> Interval {
        Interval { name: "ntt".into(), thread: 0, begin, end }
    }

    #[test]
    fn short_gaps_between_kernels_are_closed() {
        let merged = merged(&[interval(0.5, 0.6), interval(0., 0.1), interval(0.1005, 0.2)]);
        let ends: Vec<_> = merged.iter().map(|interval| (interval.begin, interval.end)).collect();
        assert_eq!(ends, [(0., 0.2), (0.5, 0.6)]);
    }

    #[test]
    fn nothing_of_a_record_becomes_markup() {
        let record = Record { command: "<script>".into(), adapter: "a & b".into(), ..Record::default() };
        let page = page(&record, Some(&record));
        assert!(!page.contains("<script") && page.contains("a &amp; b"));
    }
}
