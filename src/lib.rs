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
//! `docs/architecture.md` describes the layers; [`gpu`] is the only one that names wgpu.

mod backend;
#[doc(hidden)]
pub mod constraints;
mod context;
mod device;
mod engine;
pub mod error;
pub mod gpu;
#[doc(hidden)]
pub mod kernels;
mod memory;
#[cfg(feature = "openvm")]
pub mod openvm;
#[doc(hidden)]
pub mod stages;
mod transport;

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

pub use backend::{AirData, CommittedData, WgpuBackend};
pub use device::{EvaluatorPolicy, ProverOptions, WgpuDevice, WgpuDeviceBuilder};
pub use engine::{BabyBearPoseidon2WgpuEngine, WgpuEngine};
pub use error::{Error, Result};
pub use gpu::{adapters, AdapterReport, AdapterSummary, Admission, DeviceMetrics, LimitProfile};
pub use stages::transcript::{HostTranscript, Sponge, SpongeTranscript};
