//! Recorded work on the CPU, as Metal would run it: the Metal text that naga writes for each kernel, in place of a device.
//!
//! Unit tests of the library use it when [`VARIABLE`] asks for it, integration tests open devices with it. With checks on, small
//! dispatches are run again on copies of their buffers, in several orders of threads and workgroups and with every access checked;
//! whatever is found fails the recording, and so does a result that depends on the order.
//!
//! Each user takes its own part of this module.
#![allow(dead_code)]

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    panic::resume_unwind,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    thread,
};

use metal_on_cpu::{Buffer, Kernel, Mode, Options, Order, Program};
use openvm_wgpu_backend::internals::gpu::{
    machine::{Binding, Dispatch, KernelId, LinkedKernel, Machine, MemoryId},
    Access,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The environment variable by which unit tests leave the adapter for a machine: `metal-on-cpu`, or `metal-on-cpu-checked`.
pub const VARIABLE: &str = "OPENVM_WGPU_MACHINE";

/// Of larger dispatches, the first so many workgroups are checked, if nothing smaller was: checks are 10 to 100 times slower, and a
/// fault shows with few.
const MAX_CHECKED_WORKGROUPS: u32 = 8;
/// How often a kernel variant is checked, each time with another number of workgroups.
const CHECKS: usize = 3;
/// Orders of threads and workgroups in each check.
const ORDERS: [Order; 4] = [Order::Ascending, Order::Descending, Order::Random(1), Order::Random(2)];

/// A machine that executes the Metal text of kernels.
#[derive(Default)]
pub struct MetalOnCpu {
    memory: Mutex<HashMap<MemoryId, Arc<Buffer>>>,
    kernels: Mutex<Kernels>,
    checked: bool,
}

#[derive(Default)]
struct Kernels {
    ids: HashMap<LinkedKernel, KernelId>,
    compiled: Vec<Arc<Compiled>>,
}

struct Compiled {
    kernel: LinkedKernel,
    program: Program,
    /// Only where small dispatches are checked.
    checker: Option<Checker>,
}

struct Checker {
    program: Program,
    /// Numbers of workgroups that were checked.
    done: Mutex<BTreeSet<u32>>,
}

impl MetalOnCpu {
    /// Runs everything and checks nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the first small dispatches of every kernel variant, too.
    pub fn checked() -> Self {
        Self { checked: true, ..Self::default() }
    }

    /// What [`VARIABLE`] asks for.
    ///
    /// # Panics
    ///
    /// At an unknown name.
    pub fn from_env() -> Option<Self> {
        match std::env::var(VARIABLE).ok()?.as_str() {
            "metal-on-cpu" => Some(Self::new()),
            "metal-on-cpu-checked" => Some(Self::checked()),
            other => panic!("unknown {VARIABLE} `{other}`, expected metal-on-cpu or metal-on-cpu-checked"),
        }
    }

    /// Kernel variants that were compiled but never checked.
    pub fn unchecked(&self) -> Vec<LinkedKernel> {
        let kernels = lock(&self.kernels);
        let unchecked = |compiled: &&Arc<Compiled>| compiled.checker.as_ref().is_none_or(|c| lock(&c.done).is_empty());
        kernels.compiled.iter().filter(unchecked).map(|compiled| compiled.kernel.clone()).collect()
    }

    /// A kernel that was compiled.
    pub fn kernel(&self, id: KernelId) -> LinkedKernel {
        lock(&self.kernels).compiled[id].kernel.clone()
    }

    /// How many kernel variants were compiled.
    pub fn compiled(&self) -> usize {
        lock(&self.kernels).compiled.len()
    }

    /// The memory itself.
    pub fn buffer(&self, memory: MemoryId) -> Arc<Buffer> {
        lock(&self.memory)[&memory].clone()
    }

    /// Makes `buffer` the memory.
    pub fn put(&self, memory: MemoryId, buffer: Buffer) {
        lock(&self.memory).insert(memory, Arc::new(buffer));
    }
}

impl std::fmt::Debug for MetalOnCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetalOnCpu").field("checked", &self.checked).finish_non_exhaustive()
    }
}

impl Machine for MetalOnCpu {
    fn create(&self, memory: MemoryId, bytes: u64) {
        self.put(memory, Buffer::new(bytes as usize));
    }

    fn destroy(&self, memory: MemoryId) {
        lock(&self.memory).remove(&memory);
    }

    fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]) {
        self.buffer(memory).write(offset as usize, bytes);
    }

    fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8> {
        self.buffer(memory).read(range.start as usize..range.end as usize)
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String> {
        if let Some(id) = lock(&self.kernels).ids.get(&kernel) {
            return Ok(*id);
        }
        let compiled = Arc::new(Compiled::build(kernel, self.checked)?);
        let kernels = &mut *lock(&self.kernels);
        let id = *kernels.ids.entry(compiled.kernel.clone()).or_insert(kernels.compiled.len());
        if id == kernels.compiled.len() {
            kernels.compiled.push(compiled);
        }
        Ok(id)
    }

    fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
        // Submissions are executed under a lock. A worker of rayon that waited for parts of one would take up other work meanwhile, which may
        // want that lock: so it waits without working, and others do the parts.
        let execute = || WORKERS.install(|| self.execute(dispatch));
        thread::scope(|scope| scope.spawn(execute).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Who executes kernels, and nothing else.
static WORKERS: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPoolBuilder::new().build().expect("threads can be started"));

impl MetalOnCpu {
    fn execute(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
        let compiled = lock(&self.kernels).compiled[dispatch.kernel].clone();
        let memory: Vec<_> = dispatch.buffers.iter().map(|binding| self.buffer(binding.memory)).collect();
        let bindings: Vec<&Buffer> = memory.iter().map(Arc::as_ref).collect();
        let Some((checker, grid)) = compiled.checker.as_ref().and_then(|c| Some((c, c.takes(dispatch.grid)?))) else {
            return run(&compiled.program, dispatch, &bindings, Order::Ascending);
        };
        let part = Dispatch { grid, ..*dispatch };
        let copies = compiled.check(&checker.program, &part, &bindings)?;
        if grid == dispatch.grid {
            run(&compiled.program, dispatch, &bindings, Order::Ascending)?;
            return compiled.compare(dispatch, &bindings, &copies);
        }
        compiled.compare(&part, &copies[0].bindings(dispatch.buffers), &copies)?;
        run(&compiled.program, dispatch, &bindings, Order::Ascending)
    }
}

impl Compiled {
    fn build(kernel: LinkedKernel, checked: bool) -> Result<Self, String> {
        let fast = Options { bounds_checks: kernel.runtime_checks, mode: Mode::Fast };
        // clamped indices would hide what is to be found
        let check = Options { bounds_checks: false, mode: Mode::Check };
        let (program, checker) = std::thread::scope(|scope| {
            let checker = checked.then(|| scope.spawn(|| build(&kernel, check)));
            (build(&kernel, fast), checker.map(|thread| thread.join().expect("the compiler thread does not panic")))
        });
        let checker = checker.transpose()?.map(|program| Checker { program, done: Mutex::default() });
        Ok(Self { program: program?, checker, kernel })
    }

    /// Runs the dispatch on copies, which are as long as what they hold, in all orders: with checks, then as optimized.
    fn check(&self, checker: &Program, dispatch: &Dispatch<'_>, bindings: &[&Buffer]) -> Result<Vec<Copies>, String> {
        let run_copies = |program: &Program, order: Order| {
            let copies = Copies::new(dispatch.buffers, bindings);
            run(program, dispatch, &copies.bindings(dispatch.buffers), order)
                .map_err(|findings| format!("{findings}\n{order:?}, {dispatch:?}"))?;
            Ok(copies)
        };
        let runs =
            [checker, &self.program].into_iter().flat_map(|program| ORDERS.map(|order| run_copies(program, order)));
        runs.collect()
    }

    /// Whether every order gave what the dispatch itself did.
    fn compare(&self, dispatch: &Dispatch<'_>, bindings: &[&Buffer], copies: &[Copies]) -> Result<(), String> {
        for (copies, order) in copies.iter().zip(ORDERS.into_iter().cycle()) {
            let written = self.kernel.bindings.iter().zip(dispatch.buffers).zip(bindings).enumerate();
            for (index, ((_, binding), buffer)) in written.filter(|(_, ((access, _), _))| **access == Access::ReadWrite)
            {
                let range = 0..binding.bytes as usize;
                if copies.0[&binding.memory].read(range.clone()) != buffer.read(range) {
                    let name = &self.kernel.name;
                    return Err(format!("{name}: binding {index} depends on the order: {order:?}, {dispatch:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Checker {
    /// The part of this dispatch that is to be checked, if any; notes that it is.
    fn takes(&self, grid: [u32; 3]) -> Option<[u32; 3]> {
        let workgroups = grid.into_iter().fold(1, u32::saturating_mul);
        let mut done = lock(&self.done);
        if workgroups <= MAX_CHECKED_WORKGROUPS {
            return (done.len() < CHECKS && done.insert(workgroups)).then_some(grid);
        }
        let part = [grid[0].min(MAX_CHECKED_WORKGROUPS), 1, 1];
        (done.is_empty() && done.insert(part[0])).then_some(part)
    }
}

/// Copies of the memory of a dispatch.
struct Copies(HashMap<MemoryId, Buffer>);

impl Copies {
    fn new(bindings: &[Binding], buffers: &[&Buffer]) -> Self {
        let copy = |(binding, buffer): (&Binding, &&Buffer)| {
            let copy = Buffer::new(binding.bytes as usize);
            copy.copy_from(0, buffer, 0, binding.bytes as usize);
            (binding.memory, copy)
        };
        Self(bindings.iter().zip(buffers).map(copy).collect())
    }

    fn bindings(&self, bindings: &[Binding]) -> Vec<&Buffer> {
        bindings.iter().map(|binding| &self.0[&binding.memory]).collect()
    }
}

/// Translates and compiles a kernel.
pub fn build(kernel: &LinkedKernel, options: Options) -> Result<Program, String> {
    let writable: Vec<_> = kernel.bindings.iter().map(|access| *access == Access::ReadWrite).collect();
    let description = Kernel {
        name: &kernel.name,
        wgsl: &kernel.wgsl,
        overrides: &kernel.overrides,
        writable: &writable,
        params: kernel.params,
        immediates: true,
        workgroup: kernel.workgroup,
    };
    Program::build(&description, options).map_err(|error| error.to_string())
}

fn run(program: &Program, dispatch: &Dispatch<'_>, bindings: &[&Buffer], order: Order) -> Result<(), String> {
    let findings = program.run(bindings, dispatch.params, dispatch.grid, order).map_err(|error| error.to_string())?;
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    Err(lines.join("\n"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
