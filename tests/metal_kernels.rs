//! Every kernel in every variant that proofs use, and generated ones, executed as Metal text and checked for races and stray accesses: in
//! proofs that together take every road, each equal to the reference's.
#![cfg(unix)] // as the crate metal-on-cpu

mod device;
mod machine;

use std::sync::Arc;

use openvm_stark_backend::{
    test_utils::{
        CachedFixture11, FibFixture, InteractionsFixture11, MixtureFixture, PreprocessedFibFixture,
        SelfInteractionFixture,
    },
    StarkEngine, SystemParams,
};
use openvm_wgpu_backend::{
    internals::gpu::{Gpu, GpuOptions},
    options::EvaluatorPolicy,
    WgpuDeviceBuilder,
};
use proptest::{prelude::*, test_runner::TestCaseError};

use device::{roads, Engine};
use machine::MetalOnCpu;
use openvm_wgpu_testing::{
    cases,
    params::SmallParams,
    parity::{assert_fixture_parity, check_parity},
    random_airs::air_sets,
};

/// A device whose small dispatches are checked.
fn open() -> (Arc<MetalOnCpu>, Gpu) {
    let machine = Arc::new(MetalOnCpu::checked());
    let options = GpuOptions { machine: Some(machine.clone()), ..GpuOptions::default() };
    (machine, Gpu::new(&options).expect("the machine opens"))
}

fn engine(gpu: &Gpu, evaluator: EvaluatorPolicy, params: SystemParams) -> Engine {
    let device = WgpuDeviceBuilder::new().evaluator(evaluator).build_on(gpu.clone(), params);
    Engine::from_device(device.expect("parameters in range"))
}

/// Fails if a kernel had no dispatch that was small enough to be checked.
fn assert_all_checked(machine: &MetalOnCpu) {
    let unchecked = machine.unchecked().into_iter();
    let unchecked: Vec<_> = unchecked.map(|kernel| format!("{} {:?}", kernel.name, kernel.overrides)).collect();
    assert!(unchecked.is_empty(), "of {}, not checked:\n{}", machine.compiled(), unchecked.join("\n"));
}

#[test]
fn kernels_of_proofs() {
    let (machine, gpu) = open();
    let compiled = roads::compiled_after_proofs(|params| engine(&gpu, EvaluatorPolicy::Interpreter, params));
    assert_eq!(machine.compiled(), compiled.len());
    assert_all_checked(&machine);
}

#[test]
fn generated_kernels_of_fixtures() {
    let (machine, gpu) = open();
    let engine = engine(&gpu, EvaluatorPolicy::Generated, SmallParams::new(2, 4).build());
    assert_fixture_parity(&engine, &FibFixture::new(3, 5, 1 << 4));
    assert_fixture_parity(&engine, &InteractionsFixture11);
    assert_fixture_parity(&engine, &SelfInteractionFixture { widths: vec![1, 4, 7], log_height: 3, bus_index: 4 });
    assert_fixture_parity(&engine, &CachedFixture11::new(engine.config().clone()));
    assert_fixture_parity(&engine, &PreprocessedFibFixture::new(7, 3, vec![true; 8]));
    assert_fixture_parity(&engine, &MixtureFixture::standard(3, engine.config().clone()));
    assert_all_checked(&machine);
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn generated_kernels_of_random_airs(shape in air_sets(2, 5)) {
        let (_, gpu) = open();
        let engine = engine(&gpu, EvaluatorPolicy::Generated, shape.params.build());
        let set = shape.build();
        let pk = set.keygen(engine.config()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        check_parity(&engine, &pk, &set.proving_ctx(engine.config())).map_err(TestCaseError::fail)?;
    }
}
