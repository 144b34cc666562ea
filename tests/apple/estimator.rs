//! A machine that runs the kernels of the transcript, and some workgroups of every dispatch in price mode.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use metal_on_cpu::{Buffer, Lines, Mode, Options, Order, Price, Program, Work};
use openvm_wgpu_backend::internals::gpu::machine::{Dispatch, KernelId, LinkedKernel, Machine, MemoryId};

use crate::machine;

/// The search for a proof-of-work witness, which ends at the best that is found so far (binding 1): taken at its mean, a witness of 2^bits.
/// One in 20 takes three times as long, one in 400 six times.
const SEARCH: &str = "transcript/grind.wgsl";

/// Workgroups of a dispatch whose cycles are counted; they are alike, but for different chunks of a constraint program.
const SAMPLES: u32 = 8;

/// The first so many workgroups, whose memory is counted: neighbours run at the same time and share lines.
const NEIGHBOURS: u32 = 4;

/// A dispatch with what its sampled workgroups cost.
#[derive(Clone, Debug)]
pub struct Sampled {
    pub kernel: String,
    pub workgroups: u32,
    /// Of a workgroup.
    pub threads: u32,
    /// Means of a workgroup: cycles times lanes, and those of the pipeline of products and shifts.
    pub lane_cycles: f64,
    pub complex_cycles: f64,
    /// Cycles of the slowest SIMD group, were it alone.
    pub latency: u64,
    /// Instructions of all sampled workgroups, and how many those are.
    pub work: Work,
    pub samples: u32,
    /// How many workgroups the lines are of.
    pub neighbours: u32,
    pub bindings: Vec<Traffic>,
}

/// What a dispatch does with a binding.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Its size.
    pub bytes: u64,
    /// Distinct lines of the workgroups that are neighbours.
    pub lines: Lines,
}

impl Sampled {
    fn new(kernel: &Kernel, dispatch: &Dispatch<'_>, prices: &[Price]) -> Self {
        let workgroups: u32 = dispatch.grid.iter().product();
        let (neighbours, others) = prices.split_at(workgroups.min(NEIGHBOURS) as usize);
        let prices: Vec<_> = neighbours.iter().take(1).chain(others).collect();
        let mean =
            |of: fn(&Price) -> u64| prices.iter().map(|price| of(price)).sum::<u64>() as f64 / prices.len() as f64;
        let mut work = Work::default();
        prices.iter().for_each(|price| work += price.work);
        let lines = |i: usize| {
            let sum = |of: fn(&Lines) -> u64| neighbours.iter().map(|price| of(&price.lines[i])).sum();
            Lines { read: sum(|lines| lines.read), written: sum(|lines| lines.written) }
        };
        Self {
            kernel: kernel.name.clone(),
            workgroups,
            threads: kernel.threads,
            lane_cycles: mean(|price| price.lane_cycles),
            complex_cycles: mean(|price| price.complex_cycles),
            latency: prices.iter().map(|price| price.latency).max().unwrap_or(0),
            work,
            samples: prices.len() as u32,
            neighbours: neighbours.len() as u32,
            bindings: dispatch
                .buffers
                .iter()
                .enumerate()
                .map(|(i, b)| Traffic { bytes: b.bytes, lines: lines(i) })
                .collect(),
        }
    }

    /// The size of all that is bound.
    pub fn bound_bytes(&self) -> u64 {
        self.bindings.iter().map(|binding| binding.bytes).sum()
    }
}

/// Runs the kernels of the transcript, and prices all.
#[derive(Default)]
pub struct Estimator {
    memory: machine::MetalOnCpu,
    kernels: Mutex<Vec<Arc<Kernel>>>,
    sampled: Mutex<Vec<Sampled>>,
}

struct Kernel {
    name: String,
    threads: u32,
    price: Program,
    run: Option<Program>,
}

impl Estimator {
    /// The dispatches so far.
    pub fn take(&self) -> Vec<Sampled> {
        std::mem::take(&mut *self.sampled.lock().unwrap())
    }
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Estimator")
    }
}

impl Machine for Estimator {
    fn create(&self, memory: MemoryId, bytes: u64) {
        // field elements all, and most of the gigabytes are never touched
        self.memory.put(memory, Buffer::zeroed(bytes as usize));
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
        let compiled = Kernel { price: build(Mode::Price)?, run, threads: kernel.workgroup, name: kernel.name };
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
        let sampled = Sampled::new(&kernel, dispatch, &prices.map_err(|error| error.to_string())?);
        self.sampled.lock().unwrap().push(sampled);
        Ok(())
    }
}

fn copy(buffer: &Buffer) -> Buffer {
    let copy = Buffer::zeroed(buffer.len());
    copy.copy_from(0, buffer, 0, buffer.len());
    copy
}

/// The first few workgroups, then others up to the last.
fn sample(grid: [u32; 3]) -> Vec<u32> {
    let workgroups: u32 = grid.iter().product();
    let count = workgroups.min(SAMPLES);
    let spread = |i: u32| (u64::from(i) * u64::from(workgroups - 1) / u64::from((count - 1).max(1))) as u32;
    (0..workgroups.min(NEIGHBOURS)).chain((1..count).map(spread)).collect()
}
