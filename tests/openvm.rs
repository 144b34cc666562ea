//! OpenVM guests on the device: proofs of several segments, against the CPU backend's and in parallel, aggregation, and what goes wrong.
//! What the guests of `examples/guest` compute is checked without a proof (`openvm/guests.rs`).

#[path = "openvm/guests.rs"]
mod guests;
#[path = "../examples/guest/hash_chain/src/work.rs"]
mod work;

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use openvm_circuit::{
    arch::{instructions::exe::VmExe, ContinuationVmProof, SystemConfig, VirtualMachine, VmInstance},
    system::program::trace::compute_exe_commit_from_mem_config,
};
use openvm_cpu_backend::CpuBackend;
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, AppConfig},
    keygen::AppProvingKey,
    prover::verify_app_proof,
    StdIn,
};
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::{
    codec::Encode,
    p3_matrix::dense::RowMajorMatrix,
    prover::{
        AirProvingContext, ColMajorMatrix, CommittedTraceData, DeviceDataTransporter, ProvingContext,
        StridedColMajorMatrixView, TraceCommitter,
    },
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    BabyBearPoseidon2Config as SC, BabyBearPoseidon2CpuEngine, Digest, F,
};
use openvm_wgpu_backend::{
    internals::gpu::{DeviceMatrix, Gpu},
    openvm::{
        decode_elf, AggregationProver, AggregationStep, AppProver, ProveError, SegmentReport, WgpuSdk, WgpuVmBuilder,
    },
    BabyBearPoseidon2WgpuEngine, WgpuBackend, WgpuDevice, WgpuDeviceBuilder,
};
use p3_field::PrimeField32;
use tiny_keccak::{Hasher, Keccak};

use openvm_wgpu_testing::{params::SmallParams, parity::first_difference, transcript::SmallestWitness};

type Engine = BabyBearPoseidon2WgpuEngine;
type CpuEngine = BabyBearPoseidon2CpuEngine<SmallestWitness>;

const ELF: &[u8] = include_bytes!("../examples/guest/hash_chain.elf");
const MESSAGE: &[u8] = b"a message";

/// What an execution of this many instructions is estimated to take where segments shall be cut.
const SEGMENT_MEMORY: usize = 700 << 20;

/// So many rounds are more than one segment.
const SEGMENTED: u64 = 30;

fn app_params() -> SystemParams {
    // the VM's largest lookup table has 2^19 rows
    SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build()
}

fn vm_config() -> SdkVmConfig {
    let mut config = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
    AsMut::<SystemConfig>::as_mut(&mut config).set_segmentation_max_memory(SEGMENT_MEMORY);
    config
}

/// Codewords are kept everywhere, as software drivers do by default, so that all devices cut the same segments.
fn device_builder() -> WgpuDeviceBuilder {
    WgpuDeviceBuilder::new().cache_rs_code_matrix(true)
}

/// A device of the test's own.
fn device() -> WgpuDevice {
    device_builder().build(app_params()).unwrap()
}

/// An SDK with the key that all tests share. (It cannot be shared itself: its transpiler is not `Sync`.)
fn sdk() -> WgpuSdk {
    static KEY: LazyLock<AppProvingKey<SdkVmConfig>> =
        LazyLock::new(|| AppProvingKey::keygen(AppConfig::new(vm_config(), app_params())).unwrap());
    static DEFAULT_DEVICE: LazyLock<Gpu> = LazyLock::new(|| device_builder().set_default().unwrap());
    LazyLock::force(&DEFAULT_DEVICE);
    let builder = WgpuSdk::builder().app_pk(KEY.clone()).agg_params(AggregationSystemParams::default());
    builder.build().unwrap()
}

fn exe() -> Arc<VmExe<F>> {
    sdk().convert_to_exe(decode_elf(ELF).unwrap()).unwrap()
}

fn input(rounds: u64, message: &[u8]) -> StdIn {
    let mut input = StdIn::default();
    input.write(&rounds);
    input.write_bytes(message);
    input
}

/// Checks a proof of the guest, the program that is known as `exe_commit`.
fn assert_proves_chain(proof: &ContinuationVmProof<SC>, exe_commit: Digest, rounds: u64) {
    assert_eq!(verify_app_proof::<Engine>(&sdk().app_vk(), proof).unwrap(), exe_commit);
    let found: Vec<u8> = proof.user_public_values.public_values.iter().map(|v| v.as_canonical_u32() as u8).collect();
    assert_eq!(found[..32], work::hash_chain(rounds, MESSAGE, keccak256));
}

fn keccak256(bytes: &[u8]) -> [u8; 32] {
    let (mut hasher, mut hash) = (Keccak::v256(), [0; 32]);
    hasher.update(bytes);
    hasher.finalize(&mut hash);
    hash
}

#[test]
fn segments_prove_in_turn_and_at_once() {
    let rounds = SEGMENTED;
    let mut prover = AppProver::new(&sdk(), exe()).unwrap();
    let proof = prover.prove(input(rounds, MESSAGE)).unwrap();
    assert!(proof.per_segment.len() > 1);
    assert_proves_chain(&proof, prover.exe_commit(), rounds);
    let reports = Mutex::new(vec![]);
    let mut prover = prover.proofs_at_once(2).traces_at_once(3);
    let at_once =
        prover.prove_with(input(rounds, MESSAGE), |report| reports.lock().unwrap().push(report.segment)).unwrap();
    assert_proves_chain(&at_once, prover.exe_commit(), rounds);
    let mut reports = reports.into_inner().unwrap();
    reports.sort();
    assert!(reports.into_iter().eq(0..proof.per_segment.len()));
    let bytes = |proof: &ContinuationVmProof<SC>| proof.per_segment.encode_to_vec().unwrap();
    assert!(bytes(&at_once) == bytes(&proof));
}

#[test]
fn segments_wait_for_memory() {
    let budget = 450 << 20;
    let device = device_builder().memory_budget(budget).build(app_params()).unwrap();
    let prover = AppProver::on_device(device, SdkVmCpuBuilder, &sdk().app_pk().app_vm_pk, exe()).unwrap();
    let mut prover = prover.proofs_at_once(3).traces_at_once(3);
    let waiting = Mutex::new(Duration::ZERO);
    let proof =
        prover.prove_with(input(SEGMENTED, MESSAGE), |report| *waiting.lock().unwrap() += report.waiting).unwrap();
    assert!(proof.per_segment.len() > 1);
    assert_proves_chain(&proof, prover.exe_commit(), SEGMENTED);
    let metrics = prover.device().metrics();
    assert!(metrics.peak_bytes <= budget && metrics.memory_waits > 0);
    assert!(waiting.into_inner().unwrap() > Duration::ZERO);
}

#[test]
fn several_devices_prove_what_one_does() {
    let (rounds, bytes) = (SEGMENTED, |proof: &ContinuationVmProof<SC>| proof.per_segment.encode_to_vec().unwrap());
    let (first, second) = (device(), device());
    let small = device_builder().memory_budget(96 << 20).build(app_params()).unwrap();
    let mut prover = AppProver::on_device(first.clone(), SdkVmCpuBuilder, &sdk().app_pk().app_vm_pk, exe()).unwrap();
    let expected = bytes(&prover.prove(input(rounds, MESSAGE)).unwrap());

    let mut prover = prover.also_on(&small).unwrap().also_on(&second).unwrap();
    let used = Mutex::new([0; 3]);
    let count = |report: &SegmentReport| used.lock().unwrap()[report.device.unwrap()] += 1;
    assert!(bytes(&prover.prove_with(input(rounds, MESSAGE), count).unwrap()) == expected);
    // nothing begins where it does not fit
    let used = used.into_inner().unwrap();
    assert!(used[0] > 0 && used[1] == 0 && used[2] > 0, "{used:?}");

    // one is lost in the middle, and then the last one that has the memory
    let lost = prover.prove_with(input(rounds, MESSAGE), |_| first.gpu().lose()).unwrap();
    assert!(bytes(&lost) == expected);
    let alone = |report: &SegmentReport| {
        assert_eq!(report.device, Some(2));
        second.gpu().lose();
    };
    let error = prover.prove_with(input(rounds, MESSAGE), alone).map(|_| ()).unwrap_err();
    // the one that is left has not the memory
    assert!(matches!(error, ProveError::Segment { .. } | ProveError::NoDevice(_)), "{error}");
    assert!(error.to_string().contains("lost"), "{error}");
}

/// Upstream's own prover, on this backend: its panics aside it works as well, and lets tests see the contexts.
#[test]
fn proofs_equal_the_cpu_backends() {
    let rounds = 3;
    let device = device_builder().build(app_params()).unwrap();
    let engine = Engine::from_device(device.clone());
    let (vm, pk) = VirtualMachine::new_with_keygen(engine, WgpuVmBuilder::new(SdkVmCpuBuilder), vm_config()).unwrap();
    let exe = exe();
    let program = vm.commit_program_on_device(&exe.program);
    let mut instance = VmInstance::new(vm, exe, program).unwrap();
    let mut contexts = vec![];
    let proof = instance
        .prove_continuations(input(rounds, MESSAGE), |_, context| contexts.push(to_cpu(&device, context)))
        .unwrap();
    let memory_config = &AsRef::<SystemConfig>::as_ref(instance.vm.config()).memory_config;
    let exe_commit = compute_exe_commit_from_mem_config(instance.program_commitment(), instance.exe(), memory_config);
    assert_proves_chain(&proof, exe_commit, rounds);
    assert_eq!(proof.per_segment.len(), contexts.len());

    let cpu = CpuEngine::new(app_params());
    let cpu_pk = cpu.device().transport_pk_to_device(&pk);
    for (proof, context) in proof.per_segment.iter().zip(contexts) {
        let expected = cpu.prove(&cpu_pk, context).unwrap();
        assert_eq!(first_difference(proof, &expected), None);
        assert_eq!(proof.encode_to_vec().unwrap(), expected.encode_to_vec().unwrap());
    }
    // upstream's prover has records in matrices, for the host's chips; with those of the device there is no difference
    let on_device = AppProver::new(&sdk(), crate::exe()).unwrap().prove(input(rounds, MESSAGE)).unwrap();
    assert!(on_device.per_segment.encode_to_vec().unwrap() == proof.per_segment.encode_to_vec().unwrap());
}

/// The same traces for the CPU backend.
fn to_cpu(device: &WgpuDevice, context: &ProvingContext<WgpuBackend>) -> ProvingContext<CpuBackend<SC>> {
    let cpu = CpuEngine::new(app_params());
    let row_major = |matrix: &DeviceMatrix<F>| -> RowMajorMatrix<F> {
        let columns: ColMajorMatrix<F> = device.transport_matrix_from_device_to_host(matrix);
        StridedColMajorMatrixView::from(columns.as_view()).to_row_major_matrix()
    };
    let air = |context: &AirProvingContext<WgpuBackend>| AirProvingContext {
        cached_mains: context.cached_mains.iter().map(|cached| commit(&cpu, row_major(&cached.trace))).collect(),
        common_main: row_major(&context.common_main),
        public_values: context.public_values.clone(),
    };
    ProvingContext::new(context.per_trace.iter().map(|(index, context)| (*index, air(context))).collect())
}

fn commit(cpu: &CpuEngine, trace: RowMajorMatrix<F>) -> CommittedTraceData<CpuBackend<SC>> {
    let (commitment, data) = cpu.device().commit(&[&trace]).unwrap();
    CommittedTraceData { commitment, trace, data: Arc::new(data) }
}

#[test]
fn a_segments_proofs_aggregate() {
    let params = AggregationSystemParams {
        leaf: SmallParams { log_blowup: 2, max_constraint_degree: 4, ..SmallParams::new(4, 13) }.build(),
        internal: SmallParams { log_blowup: 3, max_constraint_degree: 4, ..SmallParams::new(2, 14) }.build(),
    };
    let (first, second) = (device(), device());
    let app_vk = Arc::new(sdk().app_vk().vk);
    let aggregation = AggregationProver::on_device(&first, app_vk, &params, AggregationTreeConfig::default());
    let aggregation = aggregation.also_on(&second).unwrap();
    let mut prover = AppProver::new(&sdk(), exe()).unwrap();
    let app = prover.prove(input(1, MESSAGE)).unwrap();
    // one device is lost when the leaf is there, and the other one goes on
    let steps = Mutex::new(vec![]);
    let step = |step: &AggregationStep| {
        let device = step.device.unwrap();
        steps.lock().unwrap().push((step.level, step.children, device));
        if step.level == "leaf" {
            [&first, &second][device].gpu().lose();
        }
    };
    let proof = aggregation.prove(app.clone(), step).unwrap();
    let steps = steps.into_inner().unwrap();
    let (lost, other) = (steps[0].2, 1 - steps[0].2);
    let levels = [("leaf", lost), ("internal for leaf", other), ("internal recursive", other), ("wrap", other)];
    assert!(steps.iter().eq(&levels.map(|(level, device)| (level, 1, device))), "{steps:?}");
    let vk = aggregation.verifying_key().as_ref().clone();
    WgpuSdk::verify_proof(vk, aggregation.baseline(&prover), &proof).unwrap();
    // and without any
    [&first, &second][other].gpu().lose();
    let error = aggregation.prove(app, |_| ()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("no device is left"), "{error:#}");
}

// ---- what goes wrong ----

#[test]
fn executions_that_fail_are_errors_of_the_vm() {
    let mut prover = AppProver::new(&sdk(), exe()).unwrap();
    let mut error = |input| match prover.prove(input) {
        Err(ProveError::Vm(error)) => error.to_string(),
        other => panic!("{:?}", other.map(|_| "a proof")),
    };
    // the guest panics
    assert!(error(input(0, MESSAGE)).contains("exit code 1"));
    assert!(error(input(1, b"")).contains("exit code 1"));
    // there is nothing to read
    assert!(error(StdIn::default()).contains("EndOfInputStream"));
    // and the prover works as before
    let proof = prover.prove(input(1, MESSAGE)).unwrap();
    assert_proves_chain(&proof, prover.exe_commit(), 1);
}

#[test]
fn what_is_no_elf_is_named() {
    for bytes in [&b"#!/bin/sh"[..], &[], &ELF[..100]] {
        let error = decode_elf(bytes).unwrap_err();
        assert!(error.to_string().contains("not a guest's ELF"), "{error}");
    }
}

#[test]
fn segments_beyond_the_budget_are_named() {
    let device = device_builder().memory_budget(96 << 20).build(app_params()).unwrap();
    let mut prover = AppProver::on_device(device, SdkVmCpuBuilder, &sdk().app_pk().app_vm_pk, exe()).unwrap();
    for _ in 0..2 {
        let error = prover.prove(input(1, MESSAGE)).map(|_| ()).unwrap_err();
        assert!(matches!(error, ProveError::Segment { segment: 0, .. }), "{error}");
        assert!(error.to_string().contains("budget"), "{error}");
    }
}

#[test]
fn lanes_end_with_the_first_error_and_begin_anew() {
    let device = device_builder().memory_budget(600 << 20).build(app_params()).unwrap();
    let prover = AppProver::on_device(device, SdkVmCpuBuilder, &sdk().app_pk().app_vm_pk, exe()).unwrap();
    let mut prover = prover.proofs_at_once(2).traces_at_once(3);
    // no segment has room beside this
    let gpu = prover.device().gpu().clone();
    let others: Vec<_> = (0..4).map(|_| gpu.alloc::<u32>(30 << 20, "memory of others").unwrap()).collect();
    let error = prover.prove(input(SEGMENTED, MESSAGE)).map(|_| ()).unwrap_err();
    assert!(matches!(error, ProveError::Segment { .. }), "{error}");
    assert!(error.to_string().contains("budget"), "{error}");
    drop(others);
    let proof = prover.prove(input(SEGMENTED, MESSAGE)).unwrap();
    assert!(proof.per_segment.len() > 1);
    assert_proves_chain(&proof, prover.exe_commit(), SEGMENTED);
}
