//! Records, traces, metrics, and the page that a browser shows.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::*;

/// Looks for a browser of Chromium's kind; `.ci/run` installs one.
fn browser() -> PathBuf {
    let named = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<_> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let found =
        folders.iter().flat_map(|folder: &PathBuf| named.map(|name| folder.join(name))).find(|path| path.is_file());
    let mac = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    found.or(Some(mac).filter(|path| path.is_file())).expect("a browser: install chromium, as .ci/run does")
}

/// The pixels of a picture without interlacing, three bytes each, and its width.
fn pixels(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (width, height, depth, kind) = (number(16), number(20), png[24], png[25]);
    assert!(depth == 8 && (kind == 2 || kind == 6) && png[28] == 0, "depth {depth}, colours {kind}");
    let (mut at, mut packed) = (8, vec![]);
    while at < png.len() {
        let length = number(at);
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut bytes = vec![];
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let size = if kind == 6 { 4 } else { 3 };
    let stride = width * size;
    let mut before = vec![0u8; stride];
    let mut found = vec![];
    for row in bytes.chunks_exact(stride + 1).take(height) {
        let row = unfiltered(row[0], &row[1..], &before, size);
        found.extend(row.chunks_exact(size).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        before = row;
    }
    (width, found)
}

/// A row whose bytes were written as differences from those to the left and above.
fn unfiltered(filter: u8, row: &[u8], above: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = row.to_vec();
    for at in 0..bytes.len() {
        let left = if at < size { 0 } else { bytes[at - size] };
        let (up, corner) = (above[at], if at < size { 0 } else { above[at - size] });
        let from = match filter {
            0 => 0,
            1 => left,
            2 => up,
            3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
            4 => {
                let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
                let distance = |byte: u8| (estimate - i16::from(byte)).abs();
                [left, up, corner].into_iter().min_by_key(|byte| distance(*byte)).unwrap()
            }
            other => panic!("filter {other}"),
        };
        bytes[at] = bytes[at].wrapping_add(from);
    }
    bytes
}

#[test]
fn a_run_is_shown_in_a_browser_and_in_perfettos_form() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("pictures", 40);
    let mut args = prove_args("app", &out);
    for (option, name) in [("--record", "run.json"), ("--trace", "trace.json"), ("--metrics", "metrics.txt")] {
        args.extend([option.to_owned(), out.join(name).display().to_string()]);
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    args.extend(["--metrics-listen".to_owned(), address.to_string()]);
    // one card twice, as if there were two
    args.extend(["--gpus", "0,0"].map(String::from));
    let mut told = String::new();
    let (said, scraped) = while_asking(address, || {
        let output = project.run(&[&refs(&args)[..], &["--json"]].concat());
        told = text(&output.stderr);
        json_of(&output)
    });
    assert!(told.contains("] GPU 1: ") && told.contains(" s on GPU 1; "), "{told}");
    assert_eq!(said["devices"].as_array().unwrap().len(), 2, "{said}");
    assert!(scraped.starts_with("HTTP/1.1 200") && scraped.contains("\nexecute_metered_time_ms"), "{scraped}");
    check_trace(&serde_json::from_slice(&fs::read(out.join("trace.json")).unwrap()).unwrap());
    check_metrics(&fs::read_to_string(out.join("metrics.txt")).unwrap(), &said);

    // an earlier run that took twice as long
    let mut record: Value = serde_json::from_slice(&fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["segments"].as_array().unwrap().len() as u64, said["segments"].as_u64().unwrap());
    record["seconds"] = (record["seconds"].as_f64().unwrap() * 2.).into();
    fs::write(out.join("before.json"), record.to_string()).unwrap();
    let page = out.join("report.html").display().to_string();
    project.ok(&["report", "pictures/run.json", "--baseline", "pictures/before.json", "--output", &page]);
    let text = fs::read_to_string(&page).unwrap();
    for expected in [
        "Timeline",
        "Where the time went",
        ">GPU 1<",
        "Device memory",
        "Kernels by time",
        "Against an earlier run",
        "-50.0 %",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains("http"), "the page asks the network for something");
    check_picture(&out, &page);
}

/// What `run` returns, and what was last answered at an address while it ran.
fn while_asking<T>(address: SocketAddr, run: impl FnOnce() -> T) -> (T, String) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut last = String::new();
            while !ended.load(Ordering::Relaxed) {
                last = ask(address).unwrap_or(last);
                std::thread::sleep(Duration::from_millis(100));
            }
            last
        });
        let result = run();
        ended.store(true, Ordering::Relaxed);
        (result, asking.join().unwrap())
    })
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn check_trace(trace: &Value) {
    let events = trace["traceEvents"].as_array().unwrap();
    let of =
        |process: u64, phase: &str| events.iter().filter(move |e| e["pid"] == process && e["ph"] == *phase).count();
    let spans: Vec<_> = events.iter().filter(|event| event["name"] == "stark_prove_excluding_trace").collect();
    assert!(!spans.is_empty() && spans.iter().all(|span| span["dur"].as_f64().unwrap() > 0.));
    for device in [2, 3] {
        assert!(of(device, "X") > 100, "kernels of the device: {}", of(device, "X"));
        assert!(of(device, "C") > 2, "values of the memory counter: {}", of(device, "C"));
    }
    assert!(events.iter().any(|event| event["name"].as_str().unwrap().ends_with(", GPU 1")));
    assert!(events.iter().any(|event| event["args"]["name"] == "segments: waiting for the device"));
    // the device works while the host proves
    let end = |event: &Value| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap();
    let kernels = || events.iter().filter(|event| event["pid"] != 1 && event["ph"] == "X");
    let last_span = events.iter().filter(|event| event["pid"] == 1 && event["ph"] == "X").map(end).fold(0., f64::max);
    assert!(kernels().all(|kernel| kernel["ts"].as_f64().unwrap() >= 0. && end(kernel) <= last_span + 1e5));
}

fn check_metrics(metrics: &str, said: &Value) {
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name}: {metrics}"))
    };
    assert_eq!(value("execute_metered_insns"), said["instructions"].as_f64().unwrap());
    assert_eq!(value("num_segments"), said["segments"].as_f64().unwrap());
    assert!(value("stark_prove_excluding_trace_time_ms") > 0.);
    // as upstream counts by AIR
    for name in ["rows{", "cells{", "main_cols{", "constraint_deg{", "total_cells{", "threshold{"] {
        assert!(value(name) > 0., "{name}");
    }
    let labelled =
        |line: &&str| line.starts_with("rows{") && line.contains("ProgramAir") && line.contains("segment=\"1\"");
    assert!(metrics.lines().any(|line| labelled(&line)), "{metrics}");
}

/// Takes a picture of the page and looks for the colours of what it must show.
fn check_picture(out: &Path, page: &str) {
    let picture = out.join("report.png");
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1600"])
        .arg(format!("--user-data-dir={}", out.join("browser").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{page}"))
        .output()
        .unwrap();
    let png = fs::read(&picture).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let (width, pixels) = pixels(&png);
    assert!(width == 1000 && pixels.len() == 1000 * 1600, "{width} of {}", pixels.len());
    let count = |colour: [u8; 3]| pixels.iter().filter(|pixel| **pixel == colour).count();
    for (what, colour, least) in [
        ("proofs on the timeline", [0x2b, 0x6c, 0xb0], 500),
        ("the device's kernels", [0xc5, 0x30, 0x30], 200),
        ("memory over time", [0x2c, 0x7a, 0x7b], 1000),
        ("text", [0x2d, 0x37, 0x48], 1000),
        ("paper", [0xff, 0xff, 0xff], 500_000),
    ] {
        assert!(count(colour) >= least, "{what}: {} pixels", count(colour));
    }
}
