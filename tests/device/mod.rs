//! The engine under test, the proofs that take every road of it, and the kernels that they compile.
//!
//! Each test binary uses its own part of this module. It is no crate: `openvm-wgpu-testing` would then depend on the library, which would
//! have to be compiled before its own unit tests could be.
#![allow(dead_code)]

pub mod broadcasts;
pub mod hlsl;
pub mod kernels;
#[cfg(target_os = "linux")]
pub mod radv;
pub mod roads;

use openvm_stark_backend::{StarkEngine, SystemParams};
use openvm_wgpu_backend::BabyBearPoseidon2WgpuEngine;

pub type Engine = BabyBearPoseidon2WgpuEngine;

/// An engine on the device that all tests of a binary share, under the profile that `OPENVM_WGPU_PROFILE` names.
pub fn engine(params: SystemParams) -> Engine {
    Engine::new(params)
}
