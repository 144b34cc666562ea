//! What unit tests, integration tests and benches share, and what needs none of the library itself: a deterministic reference prover, small
//! parameter sets, generators of AIR sets with satisfying traces, and the workloads of the examples.
//!
//! The crate does not depend on `openvm-wgpu-backend`, so the library's unit tests can use it, and nothing waits for the library to compile.

pub mod fuzz;
pub mod params;
pub mod parity;
pub mod random_airs;
pub mod transcript;
// the examples' own, since they have to build in the published package, which this crate is no part of
#[path = "../../../examples/support/workloads.rs"]
pub mod workloads;

use proptest::test_runner::{Config, RngSeed};

/// A proptest configuration with this many cases, drawn from a fixed seed, so that a run tests what
/// the last one did. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others
/// (`proptest!` applies the environment to the configuration it is given).
pub fn cases(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(0),
        // a case takes up to seconds on a software GPU
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    }
}
