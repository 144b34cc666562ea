//! A run as a trace for Perfetto: Chrome's JSON form, which ui.perfetto.dev opens.

use serde_json::{json, Value};

use crate::recording::{Interval, Record};

/// Tracks beside those of the host's threads.
const STEPS: u64 = 0;
const SEGMENTS: u64 = 1000;
const NODES: u64 = 2000;
const WAITS: u64 = 3000;
const DEVICE: u64 = 1;

/// The trace: process 1 is the host with a track for each thread, process 2 the device.
pub fn perfetto(record: &Record) -> Value {
    let (host, device) = (1, 2);
    let mut events = vec![
        name("process_name", host, 0, &format!("host ({})", record.host)),
        name("process_name", device, 0, &format!("device ({})", record.adapter)),
        name("thread_name", host, STEPS, "steps"),
        name("thread_name", device, DEVICE, "kernels"),
    ];
    events.extend(record.steps.iter().map(|step| complete(step, host, STEPS)));
    let mut threads: Vec<u64> = record.spans.iter().map(|span| span.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    events.extend(threads.iter().map(|thread| name("thread_name", host, *thread, &format!("thread {thread}"))));
    events.extend(record.spans.iter().map(|span| complete(span, host, span.thread)));
    for (track, what, intervals) in [
        (SEGMENTS, "segments: proofs", segments(record, |segment| (segment.end - segment.proving, segment.end))),
        (
            WAITS,
            "segments: waiting for the device",
            segments(record, |segment| {
                let end = segment.end - segment.proving;
                (end - segment.waiting, end)
            }),
        ),
        (NODES, "aggregation", record.nodes.clone()),
    ] {
        // what overlaps goes to another row
        for (row, intervals) in rows(intervals).into_iter().enumerate() {
            let row = track + row as u64;
            events.push(name("thread_name", host, row, what));
            events.extend(intervals.iter().map(|interval| complete(interval, host, row)));
        }
    }
    events.extend(record.device.iter().map(|kernel| complete(kernel, device, DEVICE)));
    let memory = record.memory.iter().map(|(at, bytes)| {
        json!({ "name": "device memory", "ph": "C", "pid": device, "ts": at * 1e6, "args": { "bytes": bytes } })
    });
    events.extend(memory);
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": { "version": record.version, "command": record.command } })
}

/// An interval of each segment that was proved.
fn segments(record: &Record, of: impl Fn(&crate::recording::Segment) -> (f64, f64)) -> Vec<Interval> {
    let proved = record.segments.iter().filter(|segment| !segment.kept);
    let interval = |segment: &crate::recording::Segment| {
        let (begin, end) = of(segment);
        Interval { name: format!("segment {}", segment.segment), thread: 0, begin, end }
    };
    proved.map(interval).collect()
}

/// Rows in which nothing overlaps.
pub fn rows(mut intervals: Vec<Interval>) -> Vec<Vec<Interval>> {
    intervals.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let mut rows: Vec<Vec<Interval>> = vec![];
    for interval in intervals {
        let free = rows.iter_mut().find(|row| row.last().is_none_or(|last| last.end <= interval.begin));
        match free {
            Some(row) => row.push(interval),
            None => rows.push(vec![interval]),
        }
    }
    rows
}

fn name(what: &str, process: u64, thread: u64, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": process, "tid": thread, "args": { "name": name } })
}

fn complete(interval: &Interval, process: u64, thread: u64) -> Value {
    let Interval { name, begin, end, .. } = interval;
    json!({ "name": name, "ph": "X", "pid": process, "tid": thread, "ts": begin * 1e6, "dur": (end - begin).max(0.) * 1e6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(name: &str, begin: f64, end: f64) -> Interval {
        Interval { name: name.into(), thread: 1, begin, end }
    }

    #[test]
    fn what_overlaps_is_in_other_rows() {
        let rows = rows(vec![interval("b", 1., 3.), interval("a", 0., 2.), interval("c", 2., 4.)]);
        let names = |row: &Vec<Interval>| row.iter().map(|interval| interval.name.clone()).collect::<String>();
        assert_eq!(rows.iter().map(names).collect::<Vec<_>>(), ["ac", "b"]);
    }

    #[test]
    fn tracks_have_their_events() {
        let record = Record {
            spans: vec![interval("prove", 0., 1.)],
            device: vec![interval("ntt", 0.25, 0.5)],
            memory: vec![(0.5, 1024)],
            ..Record::default()
        };
        let trace = perfetto(&record);
        let events = trace["traceEvents"].as_array().unwrap();
        let find = |name: &str| events.iter().find(|event| event["name"] == name).unwrap();
        assert_eq!((find("ntt")["pid"].as_u64(), find("ntt")["dur"].as_f64()), (Some(2), Some(250_000.)));
        assert_eq!((find("prove")["pid"].as_u64(), find("prove")["ph"].as_str()), (Some(1), Some("X")));
        assert_eq!(find("device memory")["args"]["bytes"], 1024);
    }
}
