//! OpenVM 2.0.2 programs on the GPU, with its published crates as they are (feature `openvm`).
//!
//! A virtual machine executes on the host. The traces of the chips of RV32IM, keccak, sha2 and bigint are made on the device out of the records
//! of the execution, others on the host, as with the CPU backend. App proofs, leaf proofs and internal proofs are made on the device.
//! `docs/openvm.md` is the guide
//! for a project that proves with another backend today.
//!
//! ```no_run
//! use openvm_sdk::{config::{AggregationSystemParams, AppConfig}, prover::verify_app_proof, StdIn};
//! use openvm_sdk_config::SdkVmConfig;
//! use openvm_stark_sdk::config::app_params_with_100_bits_security;
//! use openvm_wgpu_backend::{openvm::{decode_elf, fit_segments, AppProver, WgpuSdk}, BabyBearPoseidon2WgpuEngine, WgpuDeviceBuilder};
//!
//! # fn main() -> eyre::Result<()> {
//! let gpu = WgpuDeviceBuilder::new().memory_budget(12 << 30).set_default()?;
//! let mut config = AppConfig::new(SdkVmConfig::standard(), app_params_with_100_bits_security(21));
//! fit_segments(&mut config.app_vm_config, &gpu, 1);
//! let sdk = WgpuSdk::new(config, AggregationSystemParams::default())?;
//! let elf = decode_elf(&std::fs::read("guest.elf")?)?;
//! let proof = AppProver::new(&sdk, elf)?.prove(StdIn::from_bytes(b"input"))?;
//! verify_app_proof::<BabyBearPoseidon2WgpuEngine>(&sdk.app_vk(), &proof)?;
//! # Ok(())
//! # }
//! ```
//!
//! Levels that are not on the device: the root proof, which hashes with Poseidon2 over BN254 (these kernels hash over BabyBear), and the Halo2
//! proof around it.

mod aggregation;
mod app;
mod builder;
mod field_expr;
mod guest_memory;
mod huge_pages;
#[cfg(feature = "fleet")]
pub mod jobs;
mod kept;
mod lanes;
mod machine;
mod mapped;
mod metered;
mod preflight;
mod records;
mod recursion;
mod segments;
mod system;
mod tasks;
mod untrusted;

pub use aggregation::{AggregationProver, AggregationStep, InnerProver};
pub use app::{AppProver, MeteredSegment, ProveError, SegmentReport};
pub use builder::{HostVmBuilder, WgpuVmBuilder};
pub use kept::KeptProofs;
pub use records::ChipRecords;
pub use recursion::DeviceVerifier;
pub use segments::{fit_segments, segment_memory};
pub use system::DeviceSystem;
pub use untrusted::{decode_elf, transpile};

use openvm_sdk::GenericSdk;
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;

pub use crate::fleet::SegmentPlace;
use crate::BabyBearPoseidon2WgpuEngine;

/// The engine that generates traces.
type HostEngine = BabyBearPoseidon2CpuEngine;

/// The engine that proves.
type Engine = BabyBearPoseidon2WgpuEngine;

/// OpenVM's SDK on the default GPU ([`WgpuDeviceBuilder::set_default`](crate::WgpuDeviceBuilder::set_default)), for the VMs of upstream's SDK.
///
/// A plain type, as upstream's `CpuSdk` is, so that `WgpuSdk::new(..)` needs no annotation; [`WgpuSdkOf`] has the VM's builder as a parameter.
pub type WgpuSdk = WgpuSdkOf<SdkVmCpuBuilder>;

/// The same for VMs of builder `B`, one's own for example.
pub type WgpuSdkOf<B> = GenericSdk<Engine, WgpuVmBuilder<B>>;
