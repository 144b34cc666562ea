//! What the integration tests share: a deterministic reference prover, small parameter sets, and
//! generators of AIR sets with satisfying traces.
//!
//! Each test binary uses its own part of this module.
#![allow(dead_code)]

pub mod params;
pub mod parity;
pub mod random_airs;
pub mod transcript;

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
