//! Faults at every place where a device can fail, in turn: each run ends in an error with a name, or in the right proof; the next proof is right,
//! on the same device or, after a loss, on a fresh one; and nothing is left of what failed.

mod device;
#[cfg(unix)] // as the crate metal-on-cpu
mod machine;

use std::{
    collections::BTreeMap,
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use openvm_stark_backend::{
    codec::Encode,
    keygen::types::MultiStarkProvingKey,
    prover::{CpuColMajorBackend, DeviceDataTransporter, ProvingContext},
    test_utils::{CachedFixture11, TestFixture},
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config as SC;
use openvm_wgpu_backend::{
    internals::gpu::{
        faulty::{Failure, Log, Rig, Site},
        Gpu, GpuOptions,
    },
    Error, WgpuDeviceBuilder,
};

use device::Engine;
use openvm_wgpu_testing::params::SmallParams;
use rand::{rngs::StdRng, seq::SliceRandom, SeedableRng};

fn params() -> SystemParams {
    SmallParams::new(2, 3).build()
}

/// What is proved: two AIRs with cached mains and a bus.
struct Job {
    pk: MultiStarkProvingKey<SC>,
    ctx: ProvingContext<CpuColMajorBackend<SC>>,
}

impl Job {
    fn new() -> Self {
        let engine = device::engine(params());
        let fixture = CachedFixture11::new(engine.config().clone());
        Self { pk: fixture.keygen(&engine).0, ctx: fixture.generate_proving_ctx() }
    }

    /// Everything from the parameters to the proof, verified before it is returned.
    fn prove(&self, gpu: &Gpu) -> Result<Vec<u8>, String> {
        self.try_prove(gpu).map_err(|error| error.to_string())
    }

    fn try_prove(&self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        let device = WgpuDeviceBuilder::new().verify_before_return(true).build_on(gpu.clone(), params())?;
        let engine = Engine::from_device(device);
        let pk = engine.device().transport_pk_to_device(&self.pk);
        let ctx = engine.device().transport_proving_ctx_to_device(&self.ctx);
        let proof = engine.prove(&pk, ctx)?;
        Ok(proof.encode_to_vec().expect("proofs can be encoded"))
    }
}

/// What is left on a device when a proof has ended.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    bytes: u64,
    buffers: usize,
    admissions: usize,
}

impl Rest {
    fn of(gpu: &Gpu, log: &Log) -> Self {
        gpu.wait_for_kernels();
        gpu.trim_memory();
        Self { bytes: gpu.metrics().bytes_in_use, buffers: log.buffers(), admissions: gpu.admissions() }
    }
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// One run at a time, since threads are counted.
static TURN: Mutex<()> = Mutex::new(());

/// How runs with faults ended.
#[derive(Default)]
struct Outcomes {
    tried: BTreeMap<(Site, String), usize>,
    errors: BTreeMap<String, usize>,
    proofs: usize,
    /// Places that were not reached.
    missed: usize,
}

/// What is proved on a device, from the parameters to the bytes.
type Prove<'a> = &'a dyn Fn(&Gpu) -> Result<Vec<u8>, String>;

/// Every place, with every failure that it can have, or so many of them.
fn everywhere(name: &str, options: &GpuOptions, most: usize, job: Prove<'_>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let rig = Rig::new(options).expect("the test device opens");
    let prove = |gpu: &Gpu| job(gpu).expect("proves");
    let expected = prove(&rig.open(None).0);
    // the second time its kernels are there
    let (gpu, log) = rig.open(None);
    assert!(prove(&gpu) == expected);
    let places: BTreeMap<Site, usize> = Site::ALL.into_iter().map(|site| (site, log.places(site))).collect();
    assert!(prove(&gpu) == expected);
    let rest = Rest::of(&gpu, &log);
    assert_eq!(rest.admissions, 0);
    drop(gpu);
    println!("{name}: {places:?}");
    let (before, start) = (threads(), Instant::now());
    let mut outcomes = Outcomes::default();
    // a prime, so that all bits of a word have their turn
    let failures = |(site, number): (Site, usize)| {
        site.failures(number as u64 * 7_919).into_iter().map(move |failure| (site, number, failure))
    };
    let mut plans: Vec<_> = places
        .iter()
        .flat_map(|(&site, &count)| (0..count).map(move |number| (site, number)))
        .flat_map(failures)
        .collect();
    if plans.len() > most {
        plans.shuffle(&mut StdRng::seed_from_u64(13));
        plans.truncate(most);
    }
    for plan in plans {
        run(&rig, job, plan, &expected, &rest, &mut outcomes);
    }
    rig.check().expect("the device underneath is well");
    let late = Instant::now();
    while threads() > before && late.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(threads() <= before, "{} threads, {before} before", threads());
    let tried: usize = outcomes.tried.values().sum();
    assert!(outcomes.missed <= tried / 20, "{} places were not reached, {tried} were", outcomes.missed);
    println!("{name}: {tried} faults in {:.1} s", start.elapsed().as_secs_f64());
    println!("{name}: {:?}; {} right proofs, errors {:#?}", outcomes.tried, outcomes.proofs, outcomes.errors);
}

fn run(rig: &Rig, job: Prove<'_>, plan: (Site, usize, Failure), expected: &[u8], rest: &Rest, outcomes: &mut Outcomes) {
    let (gpu, log) = rig.open(Some(plan));
    let result = catch_unwind(AssertUnwindSafe(|| job(&gpu)));
    let result = result.unwrap_or_else(|_| panic!("{plan:?} panics"));
    if !log.struck() {
        // threads that make one table at the same time upload it twice
        assert!(result.is_ok_and(|proof| proof == expected), "{plan:?} was not reached");
        outcomes.missed += 1;
        return;
    }
    let kind = format!("{:?}", plan.2);
    let kind = kind.split('(').next().unwrap_or(&kind).to_owned();
    *outcomes.tried.entry((plan.0, kind)).or_default() += 1;
    match result {
        Ok(proof) => {
            assert!(proof == expected, "{plan:?}: another proof");
            outcomes.proofs += 1;
        }
        Err(error) => {
            let named = error.chars().filter(|c| !c.is_ascii_digit()).collect();
            *outcomes.errors.entry(named).or_default() += 1;
        }
    }
    if gpu.is_lost() {
        assert!(job(&gpu).is_err(), "{plan:?}: a lost device proves");
        close(gpu, &log, plan);
        let (fresh, log) = rig.open(None);
        proves_on(&fresh, &log, job, plan, expected, rest);
    } else {
        proves_on(&gpu, &log, job, plan, expected, rest);
        close(gpu, &log, plan);
    }
}

fn proves_on(gpu: &Gpu, log: &Log, job: Prove<'_>, plan: (Site, usize, Failure), expected: &[u8], rest: &Rest) {
    let next = job(gpu).unwrap_or_else(|error| panic!("after {plan:?}: {error}"));
    assert!(next == expected, "after {plan:?}: another proof");
    assert_eq!(&Rest::of(gpu, log), rest, "after {plan:?}");
}

/// The last handle goes, and with it the device.
fn close(gpu: Gpu, log: &Arc<Log>, plan: (Site, usize, Failure)) {
    drop(gpu);
    let start = Instant::now();
    while !log.closed() && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(log.closed(), "{plan:?}: something holds the device");
}

#[test]
fn on_the_adapter() {
    let job = Job::new();
    everywhere("adapter", &GpuOptions::default(), usize::MAX, &|gpu| job.prove(gpu));
}

#[cfg(unix)]
#[test]
fn on_the_machine() {
    let machine = Some(Arc::new(machine::MetalOnCpu::new()) as _);
    let profile = Some(openvm_wgpu_backend::options::LimitProfile::Native);
    let job = Job::new();
    let options = GpuOptions { machine, profile, ..GpuOptions::default() };
    everywhere("machine", &options, usize::MAX, &|gpu| job.prove(gpu));
}

/// A program's only segment, which takes seconds: a sample of its places.
#[cfg(feature = "openvm")]
#[test]
fn in_a_segment() {
    use openvm_circuit::arch::instructions::{
        exe::VmExe, instruction::Instruction, program::Program, LocalOpcode, SystemOpcode,
    };
    use openvm_rv32im_transpiler::BaseAluOpcode;
    use openvm_sdk::{config::AppConfig, keygen::AppProvingKey, StdIn};
    use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
    use openvm_wgpu_backend::openvm::AppProver;

    const PLACES: usize = 10;
    // without multiplications the VM's largest lookup table has 2^18 rows, half as many as with them
    let params = || SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 14) }.build();
    let config = SdkVmConfig { rv32m: None, ..SdkVmConfig::riscv32() };
    let key = AppProvingKey::keygen(AppConfig::new(config, params())).expect("keys of a VM");
    // x1 += 1, and so on
    let sum = |register: isize| {
        let x = 4 * register;
        Instruction::from_isize(BaseAluOpcode::ADD.global_opcode(), x, x, register, 1, 0)
    };
    let end = Instruction::from_isize(SystemOpcode::TERMINATE.global_opcode(), 0, 0, 0, 0, 0);
    let exe = Arc::new(VmExe::new(Program::from_instructions(&[(1..30).map(sum).collect(), vec![end]].concat())));
    everywhere("segment", &GpuOptions::default(), PLACES, &|gpu| {
        let device = WgpuDeviceBuilder::new().verify_before_return(true).build_on(gpu.clone(), params());
        let device = device.map_err(|error| error.to_string())?;
        let prover = AppProver::on_device(device, SdkVmCpuBuilder, &key.app_vm_pk, exe.clone());
        let proof = prover.and_then(|mut prover| prover.prove(StdIn::default())).map_err(|error| error.to_string())?;
        assert_eq!(proof.per_segment.len(), 1);
        Ok(proof.per_segment.encode_to_vec().expect("proofs can be encoded"))
    });
}
