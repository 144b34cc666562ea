//! The engine under test; apart from `common`, which the unit tests of the crate include, too.
//!
//! Each test binary uses its own part of this module.
#![allow(dead_code)]

use openvm_stark_backend::{StarkEngine, SystemParams};
use openvm_wgpu_backend::BabyBearPoseidon2WgpuEngine;

pub type Engine = BabyBearPoseidon2WgpuEngine;

/// An engine on the device that all tests of a binary share, under the profile that `OPENVM_WGPU_PROFILE` names.
pub fn engine(params: SystemParams) -> Engine {
    Engine::new(params)
}
