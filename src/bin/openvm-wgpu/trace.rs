//! A run as a trace for Perfetto: Chrome's JSON form, which ui.perfetto.dev opens.

use serde_json::{json, Value};

use crate::recording::{Interval, Record};

/// Tracks beside those of the host's threads.
const STEPS: u64 = 0;
const SEGMENTS: u64 = 1000;
const NODES: u64 = 2000;
const WAITS: u64 = 3000;
const DEVICE: u64 = 1;

/// Processes: the host, and behind it the devices.
const HOST: u64 = 1;
const FIRST_DEVICE: u64 = 2;

/// The trace: process 1 is the host with a track for each thread, processes from 2 on are the devices.
pub fn perfetto(record: &Record) -> Value {
    let host = HOST;
    let mut events = vec![
        name("process_name", host, 0, &format!("host ({})", record.host)),
        name("thread_name", host, STEPS, "steps"),
    ];
    for device in 0..record.devices.len().max(1) {
        on_device(record, device, &mut events);
    }
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
        (NODES, "aggregation", nodes(record)),
    ] {
        // what overlaps goes to another row
        for (row, intervals) in rows(intervals).into_iter().enumerate() {
            let row = track + row as u64;
            events.push(name("thread_name", host, row, what));
            events.extend(intervals.iter().map(|interval| complete(interval, host, row)));
        }
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": { "version": record.version, "command": record.command } })
}

/// A device's kernels and memory.
fn on_device(record: &Record, device: usize, events: &mut Vec<Value>) {
    let process = FIRST_DEVICE + device as u64;
    let adapter = record.devices.get(device).unwrap_or(&record.adapter);
    events.push(name("process_name", process, 0, &format!("{} ({adapter})", record.name_of(device))));
    events.push(name("thread_name", process, DEVICE, "kernels"));
    let own = record.device.iter().filter(|kernel| kernel.thread == device as u64);
    events.extend(own.map(|kernel| complete(kernel, process, DEVICE)));
    let memory = record.memory_of.get(device).unwrap_or(&record.memory).iter().map(|(at, bytes)| {
        json!({ "name": "device memory", "ph": "C", "pid": process, "ts": at * 1e6, "args": { "bytes": bytes } })
    });
    events.extend(memory);
}

/// The nodes of the aggregation, with their devices' names.
fn nodes(record: &Record) -> Vec<Interval> {
    let named = |node: &Interval| Interval {
        name: format!("{}{}", node.name, record.on(node.thread as usize)),
        ..node.clone()
    };
    record.nodes.iter().map(named).collect()
}

/// An interval of each segment that was proved.
fn segments(record: &Record, of: impl Fn(&crate::recording::Segment) -> (f64, f64)) -> Vec<Interval> {
    let proved = record.segments.iter().filter(|segment| !segment.kept);
    let interval = |segment: &crate::recording::Segment| {
        let (begin, end) = of(segment);
        let name = format!("segment {}{}", segment.segment, record.on(segment.device));
        Interval { name, thread: 0, begin, end }
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
            device: vec![Interval { thread: 0, ..interval("ntt", 0.25, 0.5) }],
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
