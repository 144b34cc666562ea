//! The comparison table of docs/performance.md: the example `keccakf` and a peer's driver on the same workloads, each pair in one run. The
//! program `openvm-wgpu` has the same as `bench compare`.
//!
//!     cargo build --release --examples
//!     target/release/examples/compare --peer .../peer-cuda --svg docs/performance.svg
//!
//! The two binaries (and the peer's) can be copied to another machine.

// the example keccakf uses all of it
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

use clap::Parser;
use support::{
    compare::{run, CompareArgs, Driver},
    spans::Voice,
};

/// Proves each workload here and with a peer, and prints the ratios.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> eyre::Result<()> {
    let program = std::env::current_exe()?.with_file_name("keccakf");
    run(&Args::parse().compare, &Driver { program, arguments: &[] }, Voice::FULL).map(drop)
}
