//! Every kernel in every variant that proofs use, executed as Metal text and checked: proofs that together take every road, equal to the
//! reference's.
#![cfg(unix)] // as the crate metal-on-cpu

mod common;
mod device;
mod machine;
#[path = "device/roads.rs"]
mod roads;
#[allow(dead_code)]
#[path = "../examples/support/workloads.rs"]
mod workloads;

use std::sync::Arc;

use openvm_wgpu_backend::{
    gpu::{Gpu, GpuOptions},
    WgpuDeviceBuilder,
};

use machine::MetalOnCpu;

#[test]
fn kernels_of_proofs_are_checked() {
    let machine = Arc::new(MetalOnCpu::checked());
    let options = GpuOptions { machine: Some(machine.clone()), ..GpuOptions::default() };
    let gpu = Gpu::new(&options).expect("the machine opens");
    let compiled = roads::compiled_after_proofs(|params| {
        device::Engine::from_device(
            WgpuDeviceBuilder::new().build_on(gpu.clone(), params).expect("parameters in range"),
        )
    });
    assert_eq!(machine.compiled(), compiled.len());
    let unchecked: Vec<_> =
        machine.unchecked().into_iter().map(|kernel| format!("{} {:?}", kernel.name, kernel.overrides)).collect();
    assert!(unchecked.is_empty(), "no dispatch was small enough to be checked:\n{}", unchecked.join("\n"));
}
