//! Estimates of the dispatches that keccak 10 and many 17 record: none keeps a small Apple GPU busy for long, and a proof on a large one takes what
//! `docs/performance.md` says. Prints the tables of `docs/metal.md` and `docs/performance.md`:
//!
//! ```sh
//! cargo test --release --test metal_watchdog -- --nocapture
//! ```
#![cfg(unix)] // as the crate metal-on-cpu

mod apple;
mod device;
mod machine;

use apple::{
    chip::{bound_ms, Time, M1, M2_MAX},
    keccak_10, many_17, tables,
};

/// The longest that a dispatch may take: a screen that is drawn by the same GPU stutters, and beyond seconds the system ends it.
const LIMIT_MS: f64 = 50.0;

/// By how much the prediction may differ from what is written down: another clang optimizes differently.
const TOLERANCE: f64 = 0.1;

#[test]
fn no_dispatch_of_keccak_10_takes_long_on_an_m1() {
    let dispatches = keccak_10();
    let all: f64 = dispatches.iter().map(|dispatch| Time::new(&M1, dispatch).ms()).sum();
    println!("{}: {} dispatches, {all:.0} ms\n{}", M1.name, dispatches.len(), tables::longest(&M1, dispatches));
    let is_long = |ms: f64| ms > LIMIT_MS;
    let long: Vec<_> =
        dispatches.iter().filter(|d| is_long(Time::new(&M1, d).ms()) || is_long(bound_ms(&M1, d))).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(dispatches.len() > 300, "{} dispatches", dispatches.len());
}

#[test]
fn keccak_10_on_an_m2_max_takes_what_is_written_down() {
    let dispatches = keccak_10();
    let stages = tables::stages(&M2_MAX, dispatches, ("sum", true));
    let overlapped: f64 = dispatches.iter().map(|dispatch| Time::new(&M2_MAX, dispatch).ms_overlapped()).sum();
    println!("{}\n{stages}\n{}", M2_MAX.name, tables::kernels(&M2_MAX, dispatches));
    println!("{overlapped:.0} ms if the pipelines overlap wholly");
    assert_written(&stages, "sum");
}

#[test]
fn many_17_on_an_m2_max_takes_what_is_written_down() {
    const NAME: &str = "sum of many 17";
    let dispatches = &many_17();
    let stages = tables::stages(&M2_MAX, dispatches, (NAME, false));
    println!("{}\n{stages}\n{}", M2_MAX.name, tables::kernels(&M2_MAX, dispatches));
    assert_written(&stages, NAME);
}

/// The prediction is what docs/performance.md says.
fn assert_written(stages: &str, name: &str) {
    let predicted = sum(stages, name).expect("the table has a sum");
    let written = sum(include_str!("../docs/performance.md"), name).expect("the table is in docs/performance.md");
    let difference = (predicted / written - 1.0).abs();
    assert!(difference < TOLERANCE, "predicted {predicted} ms, docs/performance.md says {written}");
}

/// The prediction in the last row of the table of the stages.
fn sum(text: &str, name: &str) -> Option<f64> {
    let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")))?;
    row.split('|').nth(7)?.trim().parse().ok()
}
