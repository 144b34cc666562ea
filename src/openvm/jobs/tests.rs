//! Jobs with real proofs at small parameters, through the driver of one process: what its conformance suite asks of stand-ins.

use std::sync::{
    atomic::{AtomicUsize, Ordering},
    Arc, LazyLock,
};

use openvm_sdk::{
    config::{AggregationSystemParams, AppConfig},
    prover::verify_app_proof,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::p3_field::PrimeCharacteristicRing;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2CpuEngine, F};
use openvm_wgpu_testing::params::SmallParams;

use super::*;
use crate::{
    fleet::{
        Cancellation, Executor, Graph, InProcess, JobError, Proved, Task, TaskKind, TaskResult, Verifier,
        MOST_BAD_RESULTS,
    },
    gpu::testing::gpu,
    openvm::WgpuSdk,
    WgpuDeviceBuilder,
};

const ELF: &[u8] = include_bytes!("../../../examples/guest/hash_chain.elf");

/// By upstream's estimate; the executions here become some segments.
const SEGMENT_MEMORY: usize = 650 << 20;

fn config() -> JobConfig {
    let params = SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build();
    let vm = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
    let aggregation = AggregationSystemParams {
        leaf: SmallParams { log_blowup: 2, max_constraint_degree: 4, ..SmallParams::new(4, 13) }.build(),
        internal: SmallParams { log_blowup: 3, max_constraint_degree: 4, ..SmallParams::new(2, 14) }.build(),
    };
    JobConfig { app: AppConfig::new(vm, params), aggregation }
}

/// Those of a file, as workers have them.
fn keys() -> Arc<JobKeys> {
    static KEYS: LazyLock<Arc<JobKeys>> =
        LazyLock::new(|| Arc::new(JobKeys::from_bytes(&config().to_bytes()).unwrap()));
    KEYS.clone()
}

fn device() -> WgpuDevice {
    WgpuDeviceBuilder::new().build_on(gpu(), config().app.system_params).unwrap()
}

fn files(tree: Option<AggregationTreeConfig>) -> JobFiles {
    let mut input = StdIn::default();
    input.write(&70u64);
    input.write_bytes(b"a message");
    let files = JobFiles::plan(&device(), &keys(), ELF.to_vec(), &input, Some(SEGMENT_MEMORY), tree).unwrap();
    assert!(files.plan.segments.len() > 1);
    files
}

/// Two devices' worth of benches for a job, the second one behind `trouble`, which changes what it has made.
fn executors(files: &JobFiles, trouble: impl Fn(TaskResult) -> TaskResult + Send + Sync + 'static) -> Executors {
    let bench = || Arc::new(JobBench::open(&device(), &keys(), files).unwrap());
    let (first, second) = (bench(), bench());
    let verifier: Arc<dyn Verifier> = Arc::new(first.verifier());
    let second = Arc::new(Troubled { bench: second, trouble: Box::new(trouble) });
    Executors { first: first.clone(), all: vec![second, first], verifier }
}

struct Executors {
    first: Arc<JobBench>,
    all: Vec<Arc<dyn Executor>>,
    verifier: Arc<dyn Verifier>,
}

impl Executors {
    fn run(&self, files: &JobFiles) -> Result<Proved, JobError> {
        let plan = std::slice::from_ref(&files.plan);
        InProcess::default().run(plan, &self.all, &self.verifier).remove(0)
    }
}

struct Troubled {
    bench: Arc<JobBench>,
    trouble: Box<dyn Fn(TaskResult) -> TaskResult + Send + Sync>,
}

impl Executor for Troubled {
    fn name(&self) -> String {
        self.bench.name()
    }

    fn memory(&self) -> u64 {
        self.bench.memory()
    }

    /// Segments alone, so that its results are known.
    fn takes(&self, _: usize, kind: TaskKind) -> bool {
        kind == TaskKind::Segment
    }

    fn run(&self, task: &Task, inputs: &[TaskResult], cancelled: &Cancellation) -> Result<TaskResult, TaskError> {
        self.bench.run(task, inputs, cancelled).map(|result| (self.trouble)(result))
    }
}

fn changed(result: &TaskResult, change: impl FnOnce(&mut Vec<u8>)) -> TaskResult {
    let mut bytes = result.to_vec();
    change(&mut bytes);
    Arc::new(bytes)
}

#[test]
fn real_proofs_of_segments_and_nodes_count_and_bad_ones_do_not() {
    let files = files(Some(AggregationTreeConfig::default()));
    let number = AtomicUsize::new(0);
    let executors = executors(&files, move |result| match number.fetch_add(1, Ordering::Relaxed) {
        0 => changed(&result, |bytes| bytes[4000] ^= 16),
        _ => changed(&result, |bytes| bytes.truncate(bytes.len() - 1)),
    });
    let proved = executors.run(&files).unwrap();
    // none of a bad device's counts, which drops out after two
    assert!((1..=MOST_BAD_RESULTS).contains(&proved.rejected), "{}", proved.rejected);
    let results: Vec<Vec<u8>> = proved.segments.iter().map(|result| result.to_vec()).collect();
    let exe_commit = executors.first.exe_commit();
    let app = app_proof(&results).unwrap();
    assert_eq!(verify_app_proof::<BabyBearPoseidon2CpuEngine>(keys().app_vk(), &app).unwrap(), exe_commit);
    // the root under upstream's verifier
    let root = proved.root.unwrap();
    let aggregation = keys().aggregation(&device()).unwrap();
    let prover = keys().prover(&device(), ELF).unwrap();
    let proof = stark_proof(&root, results.last().unwrap()).unwrap();
    let vk = aggregation.verifying_key().as_ref().clone();
    WgpuSdk::verify_proof(vk, aggregation.baseline(&prover), &proof).unwrap();
    assert!(stark_proof(&root, &results[0]).is_err());
    refuses_what_is_wrong(&executors, &files, &results, &root);
}

/// A flipped bit, a proof cut short, one of another kind or of another program: 0 of 200; another segment's states what does not fit.
fn refuses_what_is_wrong(executors: &Executors, files: &JobFiles, results: &[Vec<u8>], root: &TaskResult) {
    let verifier = executors.first.verifier();
    let graph = Graph::new(&files.plan).unwrap();
    let tasks: Vec<&Task> = graph.tasks().collect();
    let result = |number: usize| Arc::new(results[number].clone());
    let last = results.len() - 1;
    for number in 0..100 {
        let (segment, bytes) = if number % 2 == 0 { (0, result(0)) } else { (last, result(last)) };
        let at = (number * 7919 + 13) * (bytes.len() / 100) % bytes.len();
        let flipped = changed(&bytes, |bytes| bytes[at] ^= 1 << (number % 8));
        assert!(verifier.verify(tasks[segment], &flipped).is_err(), "bit {} of byte {at}", number % 8);
        let short = changed(&bytes, |bytes| bytes.truncate(at));
        assert!(verifier.verify(tasks[segment], &short).is_err(), "{at} bytes");
    }
    let right = verifier.verify(tasks[0], &result(0)).unwrap();
    assert_eq!(right.before, files.plan.start);
    let of_root = tasks.last().unwrap();
    assert_eq!(verifier.verify(of_root, root).unwrap().before, right.before);
    // of another level, and of another place
    assert!(verifier.verify(tasks[0], root).is_err() && verifier.verify(of_root, &result(0)).is_err());
    assert!(verifier.verify(tasks[results.len()], root).is_err());
    assert!(verifier.verify(tasks[0], &result(last)).unwrap_err().contains("public values"));
    assert!(verifier.verify(tasks[last], &result(0)).unwrap_err().contains("public values"));
    assert!(results.len() < 3 || verifier.verify(tasks[0], &result(1)).unwrap() != right);
    // of another program
    let mut another = executors.first.verifier();
    another.program[3] += F::ONE;
    assert!(another.verify(tasks[0], &result(0)).unwrap_err().contains("another program"));
    assert!(another.verify(of_root, root).unwrap_err().contains("another program"));
}

#[test]
fn a_guest_that_fails_ends_its_job_with_its_text() {
    let mut files = files(None);
    let good = files.clone();
    files.input = input_file(&StdIn::default());
    let bad = executors(&files, |result| result);
    match bad.run(&files) {
        Err(JobError::Guest(text)) => assert!(text.contains("EndOfInputStream"), "{text}"),
        other => panic!("{:?}", other.map(|_| "a proof")),
    }
    // a bench goes on after that; what is no job is told at once
    files.metering = to_bytes(&Vec::<Segment>::new());
    assert!(matches!(JobBench::open(&device(), &keys(), &files), Err(TaskError::Guest(_))));
    let elf = JobFiles { elf: b"#!/bin/sh".to_vec(), ..good };
    let error = JobBench::open(&device(), &keys(), &elf).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("not a guest's ELF"), "{error}");
}
