//! A prover backend for OpenVM's SWIRL proof system on any GPU that wgpu reaches: Metal, Vulkan, and software drivers.
//!
//! Whoever proves with `openvm-cpu-backend` or `openvm-cuda-backend` swaps the engine type and gets proofs that the unchanged upstream
//! verifier accepts:
//!
//! ```no_run
//! use openvm_stark_backend::{
//!     proof::Proof,
//!     prover::{CpuColMajorBackend, DeviceDataTransporter, ProvingContext},
//!     AirRef, StarkEngine,
//! };
//! use openvm_stark_sdk::config::{app_params_with_100_bits_security, baby_bear_poseidon2::BabyBearPoseidon2Config};
//! use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine, Error};
//!
//! type SC = BabyBearPoseidon2Config;
//!
//! fn prove(airs: &[AirRef<SC>], traces: &ProvingContext<CpuColMajorBackend<SC>>) -> Result<Proof<SC>, Error> {
//!     let engine = BabyBearPoseidon2WgpuEngine::new(app_params_with_100_bits_security(21));
//!     let (pk, vk) = engine.keygen(airs);
//!     let device_pk = engine.device().transport_pk_to_device(&pk);
//!     let proof = engine.prove(&device_pk, engine.device().transport_proving_ctx_to_device(traces))?;
//!     engine.verify(&vk, &proof).expect("proofs of satisfying traces verify");
//!     Ok(proof)
//! }
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | root | the engine, the device with its builder, the GPU underneath, errors |
//! | [`options`] | what a builder is told beside numbers |
//! | [`report`] | what adapters, devices and kernels say of themselves |
//! | [`backend`] | the types that upstream's backend traits ask for |
//! | [`transcript`] | Fiat-Shamir transcripts whose sponge the device can continue |
//! | `openvm` (feature) | OpenVM's machines, app proofs and aggregation |
//! | `fleet` (feature `openvm`) | one proof's tasks on many devices |
//!
//! `docs/architecture.md` describes the layers behind that.

#![warn(missing_docs)]
// what unit tests share with integration tests is public there
#![cfg_attr(not(test), warn(unreachable_pub))]

pub mod backend;
mod context;
mod device;
mod engine;
pub mod error;
#[cfg(feature = "openvm")]
pub mod fleet;
mod memory;
#[cfg(feature = "openvm")]
pub mod openvm;
mod transport;

/// The layers, for this crate's own tests, benches and examples: no part of the interface, and without promises.
#[doc(hidden)]
#[path = "."]
pub mod internals {
    pub mod constraints;
    pub mod gpu;
    pub mod kernels;
    pub mod stages;
}

pub(crate) use internals::{constraints, gpu, gpu::kernel, kernels, stages};

// the machine for tests names this crate as integration tests do
#[cfg(test)]
extern crate self as openvm_wgpu_backend;
#[cfg(test)]
#[path = "../tests/machine/mod.rs"]
mod metal_on_cpu_machine;

// documents whose snippets have to compile
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
#[cfg(doctest)]
#[doc = include_str!("../docs/settings.md")]
mod settings {}
#[cfg(all(doctest, feature = "openvm"))]
#[doc = include_str!("../docs/openvm.md")]
mod openvm_guide {}

#[doc(inline)]
pub use backend::WgpuBackend;
pub use device::{WgpuDevice, WgpuDeviceBuilder};
pub use engine::{BabyBearPoseidon2WgpuEngine, WgpuEngine};
#[doc(inline)]
pub use error::{Error, Result};
pub use gpu::{adapters, Admission, Gpu, KeepWarm};

/// What a [`WgpuDeviceBuilder`] is told beside numbers, and what a device works by.
pub mod options {
    pub use crate::{
        device::{EvaluatorPolicy, ProverOptions, VerifyPolicy},
        gpu::LimitProfile,
    };
}

/// What adapters, devices and kernels say of themselves.
pub mod report {
    pub use crate::gpu::{
        AdapterReport, AdapterSummary, Capabilities, DeviceMetrics, KernelProgress, KernelRun, KernelTime, KernelTimes,
    };
}

/// Fiat-Shamir transcripts whose sponge state the device can continue.
pub mod transcript {
    pub use crate::stages::transcript::{HostTranscript, Sponge, SpongeTranscript};
}
