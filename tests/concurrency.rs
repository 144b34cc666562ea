//! Several proofs at once: on one device under a memory budget, and on two devices of one process.

mod device;
#[cfg(unix)] // as the crate metal-on-cpu
mod machine;

use std::{
    sync::{Barrier, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use openvm_stark_backend::{
    codec::Encode,
    keygen::types::MultiStarkProvingKey,
    memory_metering::ProvingMemoryCounts,
    prover::{AirProvingContext, ColMajorMatrix, CpuColMajorBackend, DeviceDataTransporter, ProvingContext},
    test_utils::{FibFixture, InteractionsFixture11, MixtureFixture, SelfInteractionFixture, TestFixture},
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_wgpu_backend::{
    internals::gpu::{Gpu, GpuOptions},
    Error, WgpuDeviceBuilder,
};
use p3_field::PrimeCharacteristicRing;

use device::Engine;
use openvm_wgpu_testing::{params::SmallParams, parity::prove_on};

const MIB: u64 = 1 << 20;

/// Fits one small proof, which counts with some 20 MiB (the transcript's tape, and a reserve for small buffers), and not two.
const SMALL_BUDGET: u64 = 32 * MIB;

/// What the transcript's tape alone takes.
const LOG_BYTES: u64 = 4 * MIB;

/// A key and traces for it.
struct Program {
    pk: MultiStarkProvingKey<SC>,
    /// The traces of each segment.
    segments: Vec<ProvingContext<CpuColMajorBackend<SC>>>,
}

impl Program {
    /// Fixtures whose AIRs are the same.
    fn new<X: TestFixture<SC>>(engine: &Engine, segments: &[X]) -> Self {
        let contexts = segments.iter().map(TestFixture::generate_proving_ctx).collect();
        Self { pk: segments[0].keygen(engine).0, segments: contexts }
    }

    /// A proof of every segment, one after the other, as bytes.
    fn prove_alone(&self, engine: &Engine) -> Vec<Vec<u8>> {
        self.segments.iter().map(|ctx| bytes(prove_on(engine, &self.pk, ctx))).collect()
    }
}

fn bytes<P: Encode, E: std::fmt::Display>(proof: Result<P, E>) -> Vec<u8> {
    let proof = proof.unwrap_or_else(|error| panic!("{error}"));
    proof.encode_to_vec().expect("proofs can be encoded")
}

fn params() -> SystemParams {
    SmallParams::new(2, 5).build()
}

fn engine_on(gpu: &Gpu, params: SystemParams) -> Engine {
    Engine::from_device(WgpuDeviceBuilder::new().build_on(gpu.clone(), params).expect("parameters in range"))
}

/// The segments of a program with interactions, of different heights.
fn interactions(engine: &Engine) -> Program {
    let segment = |log_height| SelfInteractionFixture { widths: vec![4, 9, 16], log_height, bus_index: 3 };
    Program::new(engine, &[6, 4, 7, 5].map(segment))
}

/// The segments of a program with everything: preprocessed traces, cached mains, interactions.
fn mixture(engine: &Engine) -> Program {
    let segment = |log_height| MixtureFixture::standard(log_height, engine.config().clone());
    Program::new(engine, &[segment(5)])
}

/// A device with [`SMALL_BUDGET`], for one test at a time.
fn small() -> (Gpu, MutexGuard<'static, ()>) {
    static DEVICE: OnceLock<(Gpu, Mutex<()>)> = OnceLock::new();
    let (gpu, turn) = DEVICE.get_or_init(|| {
        let options = GpuOptions { memory_budget: Some(SMALL_BUDGET), ..GpuOptions::default() };
        (Gpu::new(&options).expect("the test device opens"), Mutex::new(()))
    });
    let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    gpu.reset_metrics();
    (gpu.clone(), turn)
}

/// Sleeps until so many proofs or uploads wait or have waited.
fn until_waits(gpu: &Gpu, waits: u64) {
    while gpu.metrics().memory_waits < waits {
        thread::sleep(Duration::from_millis(1));
    }
}

// ---- one device ----

/// All proofs fit. The key is on the device once, for all threads.
#[test]
fn threads_prove_what_one_proves() {
    let engine = device::engine(params());
    let programs = [interactions(&engine), mixture(&engine)];
    let alone = programs.each_ref().map(|program| program.prove_alone(&engine));
    let device = engine.device();
    let keys = programs.each_ref().map(|program| device.transport_pk_to_device(&program.pk));
    for threads in [2, 4] {
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            for t in 0..threads {
                let (engine, barrier, alone, keys, programs) = (&engine, &barrier, &alone, &keys, &programs);
                scope.spawn(move || {
                    barrier.wait();
                    // every thread both programs, in another order
                    for p in [t % 2, 1 - t % 2] {
                        let program = &programs[p];
                        let s = t % program.segments.len();
                        let context = engine.device().transport_proving_ctx_to_device(&program.segments[s]);
                        let proof = engine.prove(&keys[p], context).unwrap_or_else(|error| panic!("{error}"));
                        engine.verify(&program.pk.get_vk(), &proof).expect("the proof verifies");
                        assert!(bytes::<_, Error>(Ok(proof)) == alone[p][s], "segment {s} of program {p} differs");
                    }
                });
            }
        });
    }
}

/// The traces of all fit together, but only one proof: the others wait with their traces on the device, and proofs never overlap.
#[test]
fn proofs_wait_for_memory() {
    let (gpu, _turn) = small();
    let engine = engine_on(&gpu, params());
    let program = interactions(&engine);
    let least = engine.device().proof_bytes(ProvingMemoryCounts::default());
    assert!(2 * least > SMALL_BUDGET && least < SMALL_BUDGET, "{least}");
    let alone = program.prove_alone(&engine);
    let key = engine.device().transport_pk_to_device(&program.pk);
    let threads = program.segments.len();
    let (uploaded, taken) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    gpu.reset_metrics();
    thread::scope(|scope| {
        for (context, expected) in program.segments.iter().zip(&alone) {
            let (engine, key, uploaded, taken) = (&engine, &key, &uploaded, &taken);
            scope.spawn(move || {
                let context = engine.device().transport_proving_ctx_to_device(context);
                uploaded.wait();
                taken.wait();
                assert!(&bytes(engine.prove(key, context)) == expected, "the proof differs");
            });
        }
        uploaded.wait();
        let everything = gpu.admit(SMALL_BUDGET);
        taken.wait();
        until_waits(&gpu, threads as u64);
        drop(everything);
    });
    let metrics = gpu.metrics();
    assert_eq!(metrics.memory_waits, threads as u64);
    assert!(metrics.peak_bytes <= SMALL_BUDGET);
    assert!(metrics.peak_bytes < 2 * LOG_BYTES, "{} bytes are those of two proofs", metrics.peak_bytes);
}

/// A trace for which there is no memory waits for a proof to end.
#[test]
fn uploads_wait_for_memory() {
    let (gpu, _turn) = small();
    let engine = engine_on(&gpu, params());
    let program = interactions(&engine);
    let alone = bytes(prove_on(&engine, &program.pk, &program.segments[0]));
    let key = engine.device().transport_pk_to_device(&program.pk);
    let others = gpu.admit(SMALL_BUDGET);
    gpu.reset_metrics();
    thread::scope(|scope| {
        let proof = scope.spawn(|| {
            let context = engine.device().transport_proving_ctx_to_device(&program.segments[0]);
            assert_eq!(gpu.metrics().memory_waits, 1);
            bytes(engine.prove(&key, context))
        });
        until_waits(&gpu, 1);
        drop(others);
        assert!(proof.join().expect("the proof is made") == alone);
    });
}

/// One admission for the traces and the proof of a segment, as long as both take: uploads and proofs under it do not wait.
#[test]
fn segments_under_one_admission() {
    let (gpu, _turn) = small();
    let engine = engine_on(&gpu, params());
    let program = interactions(&engine);
    let alone = program.prove_alone(&engine);
    let key = engine.device().transport_pk_to_device(&program.pk);
    gpu.reset_metrics();
    thread::scope(|scope| {
        for (context, expected) in program.segments.iter().zip(&alone) {
            let (device, key) = (engine.device(), &key);
            scope.spawn(move || {
                let admission = device.admit(SMALL_BUDGET / 2 + MIB);
                let engine = Engine::from_device(device.under(&admission));
                let context = engine.device().transport_proving_ctx_to_device(context);
                assert!(&bytes(engine.prove(key, context)) == expected, "the proof differs");
            });
        }
    });
    // nobody waited twice
    assert!(gpu.metrics().memory_waits < program.segments.len() as u64);
    assert!(gpu.metrics().peak_bytes < 2 * LOG_BYTES);
}

/// Whatever ends a proof, the next one begins.
#[test]
fn errors_release_their_admission() {
    let (gpu, _turn) = small();
    let engine = engine_on(&gpu, params());
    let (unbalanced, fine) = (InteractionsFixture11, interactions(&engine));
    let alone = fine.prove_alone(&engine);
    let mut tampered = Program::new(&engine, &[unbalanced]);
    let zeros = ColMajorMatrix::new(F::zero_vec(4 * 2), 2);
    tampered.segments[0].per_trace[0].1 = AirProvingContext::simple_no_pis(zeros);
    // 19 MiB of traces leave too little for the proof
    let tall_engine = engine_on(&gpu, SmallParams::new(2, 9).build());
    let tall = SelfInteractionFixture { widths: vec![100; 24], log_height: 11, bus_index: 1 };
    let tall = Program::new(&tall_engine, &[tall]);
    thread::scope(|scope| {
        let bad = scope.spawn(|| {
            for _ in 0..3 {
                let error = prove_on(&engine, &tampered.pk, &tampered.segments[0]).map(|_| ()).unwrap_err();
                assert!(error.contains("interactions do not balance"), "{error}");
            }
        });
        for (context, expected) in fine.segments.iter().zip(&alone) {
            assert!(&bytes(prove_on(&engine, &fine.pk, context)) == expected, "the proof differs");
        }
        bad.join().expect("the errors are the expected ones");
    });
    let in_use = gpu.metrics().bytes_in_use;
    let error = prove_on(&tall_engine, &tall.pk, &tall.segments[0]).map(|_| ()).unwrap_err();
    assert!(error.contains("memory budget too small"), "{error}");
    assert_eq!(gpu.metrics().bytes_in_use, in_use);
    // alone, but beside an admission that nothing but its own release ends
    let everything = gpu.admit(SMALL_BUDGET);
    drop(everything);
    assert!(bytes(prove_on(&engine, &fine.pk, &fine.segments[0])) == alone[0]);
}

// ---- estimates ----

/// What upstream's metering would count.
fn counts(pk: &MultiStarkProvingKey<SC>, ctx: &ProvingContext<CpuColMajorBackend<SC>>) -> ProvingMemoryCounts {
    let mut counts = ProvingMemoryCounts::default();
    for (air, trace) in &ctx.per_trace {
        let vk = &pk.per_air[*air].vk;
        let rows = trace.common_main.values.len() / vk.params.width.common_main;
        let cells = match vk.params.need_rot {
            true => &mut counts.main_cells_with_rot,
            false => &mut counts.main_cells_without_rot,
        };
        *cells += rows * vk.params.width.main_width();
        counts.interaction_cells += rows * vk.symbolic_constraints.interactions.len();
    }
    counts
}

/// Proofs take at most what they are admitted for, even without the reserve for small buffers.
#[test]
fn estimates_bound_what_is_held() {
    const RESERVE: u64 = 16 * MIB;
    let gpu = Gpu::new(&GpuOptions::default()).expect("the test device opens");
    for cache in [false, true] {
        let builder = WgpuDeviceBuilder::new().cache_rs_code_matrix(cache);
        for (l_skip, n_stack, widths) in [(2, 13, vec![4]), (4, 10, vec![30; 4]), (4, 11, vec![8, 100])] {
            let params = SmallParams { k_whir: 4, whir_rounds: 3, ..SmallParams::new(l_skip, n_stack) }.build();
            let device = builder.clone().build_on(gpu.clone(), params).expect("parameters in range");
            let engine = Engine::from_device(device);
            let fixture = SelfInteractionFixture { widths, log_height: 13, bus_index: 1 };
            let program = Program::new(&engine, &[fixture]);
            let key = engine.device().transport_pk_to_device(&program.pk);
            let context = &program.segments[0];
            let before = gpu.metrics().bytes_in_use;
            gpu.reset_metrics();
            let device_context = engine.device().transport_proving_ctx_to_device(context);
            engine.prove(&key, device_context).expect("the proof is made");
            let (held, bound) =
                (gpu.metrics().peak_bytes - before, engine.device().proof_bytes(counts(&program.pk, context)));
            println!("{held} of {bound} bytes, {} of them reserve", RESERVE);
            assert!(held <= bound - RESERVE, "{held} bytes are held, {bound} estimated");
            assert!(bound < 4 * held + RESERVE, "{bound} bytes are estimated, {held} held");
        }
    }
}

// ---- two devices ----

/// The adapter, and the Metal text of all kernels on the CPU.
#[cfg(unix)]
#[test]
fn engines_on_two_devices() {
    use openvm_wgpu_backend::options::LimitProfile;
    use std::sync::Arc;

    let machine = Arc::new(machine::MetalOnCpu::new());
    let options = GpuOptions { machine: Some(machine), profile: Some(LimitProfile::Native), ..GpuOptions::default() };
    let metal = engine_on(&Gpu::new(&options).expect("the machine opens"), SmallParams::new(2, 4).build());
    let engine = device::engine(SmallParams::new(2, 4).build());
    assert_ne!(metal.device().adapter_info(), engine.device().adapter_info());
    let segments = [(1, 2), (3, 4), (5, 6)].map(|(a, b)| FibFixture::new(a, b, 1 << 5));
    let program = Program::new(&engine, &segments);
    let barrier = Barrier::new(2);
    let prove = |engine| {
        barrier.wait();
        program.prove_alone(engine)
    };
    let proofs = thread::scope(|scope| {
        let threads = [scope.spawn(|| prove(&metal)), scope.spawn(|| prove(&engine))];
        threads.map(|thread| thread.join().expect("the proofs are made"))
    });
    assert!(proofs[0] == proofs[1], "the devices' proofs differ");
    for (device, waits) in [(&metal, 3), (&engine, 3)] {
        assert!(device.device().metrics().host_waits >= waits);
    }
}
