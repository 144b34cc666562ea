//! No dispatch of a proof keeps a small Apple GPU busy for long: an estimate for each of those that keccak 10 records.
//!
//! Nothing but the transcript is computed here. The proof is of a trace of zeros, whose values are whatever memory holds, which changes no
//! dispatch: which ones there are, and how long they take, depends on the AIR, the parameters and the sizes alone. Of each dispatch
//! some workgroups run as Metal text in price mode (see the crate metal-on-cpu).
#![cfg(unix)] // as the crate metal-on-cpu

mod common;
mod device;
mod machine;
#[allow(dead_code)]
#[path = "../examples/support/workloads.rs"]
mod workloads;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use metal_on_cpu::{Buffer, Mode, Options, Order, Price, Program};
use openvm_stark_backend::{
    prover::{AirProvingContext, ColMajorMatrix, ProvingContext},
    StarkEngine,
};
use openvm_stark_sdk::config::{app_params_with_100_bits_security, baby_bear_poseidon2::F};
use openvm_wgpu_backend::{
    gpu::{
        machine::{Dispatch, KernelId, LinkedKernel, Machine, MemoryId},
        Gpu, GpuOptions,
    },
    EvaluatorPolicy, WgpuDeviceBuilder,
};
use p3_field::PrimeCharacteristicRing;

use common::parity::prove_on;
use device::Engine;
use workloads::{Workload, WorkloadKind};

/// The longest that a dispatch may take: a screen that is drawn by the same GPU stutters, and beyond seconds the system ends it.
const LIMIT_MS: f64 = 50.0;

/// An M1 with 8 cores of 128 lanes.
const CLOCK_HZ: f64 = 1.278e9;
const LANES: f64 = 8.0 * 128.0;
/// Cycles between two instructions of a SIMD group that depend on each other, as most of ours do (published: 2 to 3).
const LATENCY: f64 = 3.0;
/// Bytes per second that an M1 reads (published: 68 GB/s).
const BANDWIDTH: f64 = 60e9;

/// The search for a proof-of-work witness, which ends at the best that is found so far (binding 1): taken at its mean, a witness of 2^bits.
/// One in 20 takes three times as long, one in 400 six times.
const SEARCH: &str = "transcript/grind.wgsl";

/// Workgroups of a dispatch that are run; they are alike, but for different chunks of a constraint program.
const SAMPLES: u32 = 8;

/// What a dispatch is estimated to take.
#[derive(Clone, Debug)]
struct Estimate {
    kernel: String,
    workgroups: u32,
    /// Milliseconds of all lanes.
    throughput_ms: f64,
    /// Milliseconds of the slowest SIMD group, were it alone.
    latency_ms: f64,
    /// Milliseconds to read once all that is bound.
    bound_ms: f64,
}

impl Estimate {
    fn new(kernel: &str, dispatch: &Dispatch<'_>, prices: &[Price]) -> Self {
        let workgroups: u32 = dispatch.grid.iter().product();
        let sampled: u64 = prices.iter().map(|price| price.lane_cycles).sum();
        let longest = prices.iter().map(|price| price.longest).max().unwrap_or(0);
        let bound: u64 = dispatch.buffers.iter().map(|binding| binding.bytes).sum();
        Self {
            kernel: kernel.into(),
            workgroups,
            throughput_ms: sampled as f64 / prices.len() as f64 * f64::from(workgroups) / LANES / CLOCK_HZ * 1e3,
            latency_ms: longest as f64 * LATENCY / CLOCK_HZ * 1e3,
            bound_ms: bound as f64 / BANDWIDTH * 1e3,
        }
    }

    fn ms(&self) -> f64 {
        self.throughput_ms.max(self.latency_ms)
    }
}

/// Runs the kernels of the transcript, and estimates all.
#[derive(Default)]
struct Estimator {
    memory: machine::MetalOnCpu,
    kernels: Mutex<Vec<Arc<Kernel>>>,
    estimates: Mutex<Vec<Estimate>>,
}

struct Kernel {
    name: String,
    price: Program,
    run: Option<Program>,
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Estimator")
    }
}

impl Machine for Estimator {
    fn create(&self, memory: MemoryId, bytes: u64) {
        self.memory.create(memory, bytes);
        // field elements all
        self.memory.buffer(memory).fill_zero(0..bytes as usize);
    }

    fn destroy(&self, memory: MemoryId) {
        self.memory.destroy(memory);
    }

    fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]) {
        self.memory.write(memory, offset, bytes);
    }

    fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8> {
        self.memory.read(memory, range)
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String> {
        let build = |mode| machine::build(&kernel, Options { bounds_checks: false, mode });
        let runs = kernel.name.starts_with("transcript/") || kernel.name == "sequence.wgsl";
        let run = runs.then(|| build(Mode::Fast)).transpose()?;
        let compiled = Kernel { price: build(Mode::Price)?, run, name: kernel.name };
        let mut kernels = self.kernels.lock().unwrap();
        kernels.push(Arc::new(compiled));
        Ok(kernels.len() - 1)
    }

    fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
        let kernel = self.kernels.lock().unwrap()[dispatch.kernel].clone();
        let memory: Vec<_> = dispatch.buffers.iter().map(|binding| self.memory.buffer(binding.memory)).collect();
        let bindings: Vec<&Buffer> = memory.iter().map(Arc::as_ref).collect();
        let Dispatch { params, grid, .. } = *dispatch;
        let prices = match &kernel.run {
            Some(run) => {
                run.run(&bindings, params, grid, Order::Ascending).map_err(|error| error.to_string())?;
                let copies: Vec<_> = bindings.iter().map(|buffer| copy(buffer)).collect();
                if kernel.name == SEARCH {
                    copies[1].write(0, &(1u32 << params[1]).to_le_bytes());
                }
                kernel.price.price(&copies.iter().collect::<Vec<_>>(), params, grid, &sample(grid))
            }
            None => kernel.price.price(&bindings, params, grid, &sample(grid)),
        };
        let estimate = Estimate::new(&kernel.name, dispatch, &prices.map_err(|error| error.to_string())?);
        self.estimates.lock().unwrap().push(estimate);
        Ok(())
    }
}

fn copy(buffer: &Buffer) -> Buffer {
    let copy = Buffer::new(buffer.len());
    copy.copy_from(0, buffer, 0, buffer.len());
    copy
}

/// Workgroups from the first to the last.
fn sample(grid: [u32; 3]) -> Vec<u32> {
    let workgroups: u32 = grid.iter().product();
    let count = workgroups.min(SAMPLES);
    (0..count).map(|i| (u64::from(i) * u64::from(workgroups - 1) / u64::from((count - 1).max(1))) as u32).collect()
}

/// The dispatches of a proof of 1,024 keccak-f permutations under the application's parameters.
fn keccak_10() -> Vec<Estimate> {
    let machine = Arc::new(Estimator::default());
    let options = GpuOptions { machine: Some(machine.clone()), ..GpuOptions::default() };
    let gpu = Gpu::new(&options).expect("the machine opens");
    let builder = WgpuDeviceBuilder::new().evaluator(EvaluatorPolicy::Interpreter);
    let device = builder.build_on(gpu, app_params_with_100_bits_security(21)).expect("parameters in range");
    let engine = Engine::from_device(device);
    let airs = Workload { kind: WorkloadKind::Keccak, log_n: 10 }.airs();
    let (pk, _) = engine.keygen(&airs);
    let (rows, columns) = (1 << 15, pk.per_air[0].vk.params.width.common_main);
    let trace = ColMajorMatrix::new(F::zero_vec(rows * columns), columns);
    let ctx = ProvingContext::new(vec![(0, AirProvingContext::simple_no_pis(trace))]);
    prove_on(&engine, &pk, &ctx).expect("zeros go through");
    let estimates = std::mem::take(&mut *machine.estimates.lock().unwrap());
    estimates
}

/// The longest dispatch of each kernel and the sum of all, as the table of `docs/metal.md`.
fn table(estimates: &[Estimate]) -> String {
    let mut kernels = BTreeMap::<&str, (usize, f64, &Estimate)>::new();
    for estimate in estimates {
        let (count, sum, longest) = kernels.entry(&estimate.kernel).or_insert((0, 0.0, estimate));
        (*count, *sum) = (*count + 1, *sum + estimate.ms());
        if estimate.ms() > longest.ms() {
            *longest = estimate;
        }
    }
    let mut rows: Vec<_> = kernels.into_iter().collect();
    rows.sort_by(|(_, (_, _, a)), (_, (_, _, b))| b.ms().total_cmp(&a.ms()));
    let row = |(name, (count, sum, longest)): (&str, (usize, f64, &Estimate))| {
        let Estimate { workgroups, throughput_ms, latency_ms, bound_ms, .. } = longest;
        format!(
            "| `{name}` | {count} | {sum:.1} | {workgroups} | {throughput_ms:.2} | {latency_ms:.2} | {bound_ms:.2} |\n"
        )
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn no_dispatch_of_keccak_10_takes_long_on_an_m1() {
    let estimates = keccak_10();
    println!("{}", table(&estimates));
    let long: Vec<_> = estimates.iter().filter(|e| e.ms() > LIMIT_MS || e.bound_ms > LIMIT_MS).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(estimates.len() > 300, "{} dispatches", estimates.len());
}
