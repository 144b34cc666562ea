//! Whole proofs on executed Metal text: every kernel of these runs as the MSL that naga writes for it, on the CPU, and nothing runs on
//! the machine's own GPU. Small dispatches are checked for races and stray accesses on the way.
#![cfg(unix)] // as the crate metal-on-cpu

mod device;
mod machine;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

use openvm_stark_backend::{
    prover::{AirProvingContext, ProvingContext},
    test_utils::{FibFixture, InteractionsFixture11, TestFixture},
    StarkEngine,
};
use openvm_wgpu_backend::{
    internals::gpu::{
        machine::{Dispatch, KernelId, LinkedKernel, Machine, MemoryId},
        Gpu, GpuOptions, LimitProfile,
    },
    WgpuDeviceBuilder,
};

use device::Engine;
use machine::MetalOnCpu;
use openvm_wgpu_testing::{
    params::SmallParams,
    parity::{assert_fixture_parity, check_parity, prove_on},
    workloads::{Workload, WorkloadKind},
};

/// For the commitment's root, the sums of round 0, the column openings, and the proof; whatever the workload.
const HOST_WAITS: u64 = 6;

fn engine(machine: Arc<dyn Machine>, params: SmallParams) -> Engine {
    let options = GpuOptions { machine: Some(machine), profile: Some(LimitProfile::Native), ..GpuOptions::default() };
    let gpu = Gpu::new(&options).expect("the machine opens");
    Engine::from_device(WgpuDeviceBuilder::new().build_on(gpu, params.build()).expect("parameters in range"))
}

#[test]
fn fibonacci() {
    let machine = Arc::new(MetalOnCpu::checked());
    let engine = engine(machine.clone(), SmallParams::new(2, 4));
    assert_fixture_parity(&engine, &FibFixture::new(3, 5, 1 << 5));
    assert!(machine.compiled() > 30);
    assert_eq!(engine.device().metrics().host_waits, HOST_WAITS);
}

#[test]
fn interactions() {
    let machine = Arc::new(MetalOnCpu::checked());
    let engine = engine(machine.clone(), SmallParams::new(2, 4));
    assert_fixture_parity(&engine, &InteractionsFixture11);
    assert!(machine.compiled() > 40);
    assert_eq!(engine.device().metrics().host_waits, HOST_WAITS);
}

/// Dispatches of a proof of 42 AIRs, of low traces all: nearly all of them are for all AIRs at once. (It takes 364.)
const MANY_DISPATCHES: usize = 370;

#[test]
fn many_airs_in_few_dispatches() {
    let counts = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let counter = counts.clone();
    let count = move |kernel: &str| {
        *counter.lock().unwrap().entry(kernel.to_string()).or_default() += 1;
        true
    };
    let engine = engine(Arc::new(Asks { machine: MetalOnCpu::new(), whether: count }), SmallParams::new(4, 8));
    let workload = Workload { kind: WorkloadKind::Many, log_n: 8 };
    let (pk, _) = engine.keygen(&workload.airs());
    let contexts = workload.traces(42).into_iter().map(AirProvingContext::simple_no_pis);
    let ctx = ProvingContext::new(contexts.enumerate().collect());
    check_parity(&engine, &pk, &ctx).unwrap_or_else(|e| panic!("{e}"));
    let dispatches = counts.lock().unwrap();
    dispatches.iter().for_each(|(kernel, count)| println!("{count:5} {kernel}"));
    let dispatches: usize = dispatches.values().sum();
    println!("{dispatches} dispatches");
    assert!(dispatches <= MANY_DISPATCHES, "{dispatches} dispatches, {MANY_DISPATCHES} at most");
    assert_eq!(engine.device().metrics().host_waits, HOST_WAITS);
}

/// A machine that asks, by the kernel's name, whether to run a dispatch.
struct Asks<A> {
    machine: MetalOnCpu,
    whether: A,
}

impl<A> fmt::Debug for Asks<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asks").field(&self.machine).finish()
    }
}

impl<A: Fn(&str) -> bool + Send + Sync> Machine for Asks<A> {
    fn create(&self, memory: MemoryId, bytes: u64) {
        self.machine.create(memory, bytes);
    }

    fn destroy(&self, memory: MemoryId) {
        self.machine.destroy(memory);
    }

    fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]) {
        self.machine.write(memory, offset, bytes);
    }

    fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8> {
        self.machine.read(memory, range)
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String> {
        self.machine.compile(kernel)
    }

    fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
        match (self.whether)(&self.machine.kernel(dispatch.kernel).name) {
            true => self.machine.dispatch(dispatch),
            false => Ok(()),
        }
    }
}

/// The guards against wgpu #9545: work that never ran although nothing failed is noticed by the submission counter if the submission ended
/// early, and by the verification of the proof if something in the middle is missing.
#[test]
fn silent_failures_are_noticed() {
    // a machine that leaves one kernel out is a GPU whose command buffer failed
    let proof = |left_out: &'static str, verify| {
        let machine = Arc::new(Asks { machine: MetalOnCpu::new(), whether: move |kernel: &str| kernel != left_out });
        let options =
            GpuOptions { machine: Some(machine), profile: Some(LimitProfile::Native), ..GpuOptions::default() };
        let builder = WgpuDeviceBuilder::new().verify_before_return(verify);
        let gpu = Gpu::new(&options).expect("the machine opens");
        let device = builder.build_on(gpu, SmallParams::new(2, 4).build()).expect("parameters in range");
        let (engine, fixture) = (Engine::from_device(device), FibFixture::new(3, 5, 1 << 5));
        let (pk, vk) = fixture.keygen(&engine);
        let proof = prove_on(&engine, &pk, &fixture.generate_proving_ctx())?;
        engine.verify(&vk, &proof).map_err(|error| format!("accepted by the prover: {error}"))
    };
    assert_eq!(proof("none", true), Ok(()));
    let stale = proof("sequence.wgsl", true).unwrap_err();
    assert!(stale.contains("did not finish its work"), "{stale}");
    let rejected = proof("merkle/open_paths.wgsl", true).unwrap_err();
    assert!(rejected.contains("the proof does not verify"), "{rejected}");
    let accepted = proof("merkle/open_paths.wgsl", false).unwrap_err();
    assert!(accepted.contains("accepted by the prover"), "{accepted}");
}
