//! Generated kernels of a program: text, compilation in the background, and when it starts.

use std::{
    ops::Range,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc, Mutex, OnceLock,
    },
    time::{Duration, Instant},
};

use super::{
    emit::EmitFractions,
    program::Source,
    sums::{SumLines, SumPoints},
    EvaluatorPolicy, RowKind,
};
use crate::{
    constraints::{wgsl::chunk_body, Chunk, Program, MAX_CHUNK_COST},
    error::{Error, Result},
    gpu::{Background, CompiledKernel, GeneratedKernel, Gpu, Kernel},
};

/// Instructions beyond which a chunk is not compiled, nor its program: compile time grows faster than linearly (5,000 statements: 23 s
/// on NVIDIA, 122 s on lavapipe). Only a single constraint or interaction can be this large.
const MAX_GENERATED_INSTRS: usize = MAX_CHUNK_COST + MAX_CHUNK_COST / 2;

/// How long a program's kernels may take, from when they are queued until the last one begins. What is left then stays with the interpreter,
/// whose proofs are a few per cent slower, rather than to keep the cores busy for minutes.
const COMPILE_TIME: Duration = Duration::from_secs(60);

/// The same for who asks for generated kernels, and for software drivers, which get few of them, late, and take long for each.
const COMPILE_TIME_SLOW: Duration = Duration::from_secs(300);

/// Instructions that the chunks of one kernel of round 0 have together. More chunks in a kernel fill a GPU better and hide more of the
/// time that each multiprocessor waits for a chunk's code (H200, keccak 10, chunks of 250: kernels of 500, 1,000, 2,000 take 1.9, 1.5,
/// 1.3 ms, and 4,000 no less), but compile longer (2,000: 4 s).
const KERNEL_INSTRS: usize = 2_000;

/// Evaluations after which compiling a program of few chunks pays where it is not compiled at once: interpreting 2^15 rows costs what
/// compiling saves on later ones (a GPU's compiler runs beside it; a software driver's takes the cores that evaluate).
const COMPILE_AFTER: usize = 1 << 15;
const COMPILE_AFTER_SOFTWARE: usize = 1 << 20;

/// Kernels beyond which a program stays with the interpreter unless generated kernels are asked for. Base field: a minute of one core's
/// compilation. Extension field: a chunk of 250 operations is hundreds of KiB of code that the few warps of a round run once, so it
/// waits for instructions (H200: keccak 10 takes 273 ms on 261 generated kernels of the MLE rounds, 72 ms interpreted). Software
/// drivers: their compilers are slow, and take the cores that evaluate.
const MAX_BASE_KERNELS: usize = 64;
const MAX_EXTENSION_KERNELS: usize = 8;
const MAX_SOFTWARE_KERNELS: usize = 8;

/// The generated kernels of one program: none until all of them are compiled.
pub(super) struct Generated {
    /// The chunks of each kernel.
    groups: Vec<Range<usize>>,
    compilable: bool,
    ready: OnceLock<Vec<CompiledKernel>>,
    compiled: Vec<OnceLock<CompiledKernel>>,
    /// Rows evaluated so far.
    evaluations: AtomicUsize,
    started: AtomicBool,
    stopped: AtomicBool,
    /// Jobs that have not ended.
    pending: Background,
    /// Jobs whose threads may be in the driver now.
    compiling: Background,
    /// Time was up before all were compiled.
    late: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Generated {
    pub(super) fn new(program: &Program, kind: RowKind) -> Self {
        let groups = match kind {
            RowKind::Points => groups(program),
            RowKind::Lines | RowKind::Emit => (0..program.chunks.len()).map(|c| c..c + 1).collect(),
        };
        Self {
            compiled: groups.iter().map(|_| OnceLock::new()).collect(),
            groups,
            compilable: program.chunks.iter().all(is_compilable),
            ready: OnceLock::new(),
            evaluations: AtomicUsize::new(0),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            pending: Background::default(),
            compiling: Background::default(),
            late: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Each kernel with its chunks, once all are compiled.
    pub(super) fn kernels(&self) -> Option<impl Iterator<Item = (&CompiledKernel, &Range<usize>)>> {
        self.ready.get().map(|kernels| kernels.iter().zip(&self.groups))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    /// Starts compilation where the policy wants it before anything was evaluated.
    pub(super) fn begin(self: &Arc<Self>, gpu: &Gpu, source: &Arc<Source>, policy: EvaluatorPolicy) {
        let base = source.kind != RowKind::Lines;
        let pays = self.groups.len() <= if base { MAX_BASE_KERNELS } else { MAX_EXTENSION_KERNELS };
        // `Auto` does not know yet whether there will be evaluations that are large enough
        if policy == EvaluatorPolicy::Generated && pays {
            self.start(gpu, source, policy);
        }
    }

    /// Counts `evaluations` rows; the call that makes compilation pay starts it.
    pub(super) fn count(self: &Arc<Self>, gpu: &Gpu, source: &Arc<Source>, evaluations: usize) {
        let (threshold, most) = match (gpu.capabilities().software, source.kind) {
            (true, _) => (COMPILE_AFTER_SOFTWARE, MAX_SOFTWARE_KERNELS),
            (false, RowKind::Lines) => (COMPILE_AFTER, MAX_EXTENSION_KERNELS),
            (false, RowKind::Points | RowKind::Emit) => (COMPILE_AFTER, MAX_BASE_KERNELS),
        };
        let seen = self.evaluations.fetch_add(evaluations, Ordering::Relaxed) + evaluations;
        if seen >= threshold && self.groups.len() <= most {
            self.start(gpu, source, EvaluatorPolicy::Auto);
        }
    }

    /// Compiles the kernels in the background, several at a time; the first call counts.
    fn start(self: &Arc<Self>, gpu: &Gpu, source: &Arc<Source>, policy: EvaluatorPolicy) {
        if !self.compilable || self.groups.is_empty() || self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::debug!(program = source.name, kernels = self.groups.len(), "compiling kernels");
        let slow = policy == EvaluatorPolicy::Generated || gpu.compiles_on_host();
        let deadline = Instant::now() + if slow { COMPILE_TIME_SLOW } else { COMPILE_TIME };
        // all are counted before the first can end
        for _ in &self.groups {
            self.pending.begin();
            gpu.background().begin();
        }
        for k in 0..self.groups.len() {
            let (this, gpu, source) = (self.clone(), gpu.clone(), source.clone());
            compiler_threads().spawn(move || {
                this.compiling.begin();
                let left_out = !this.compile(&gpu, &source, k, deadline);
                this.end(gpu, left_out);
            });
        }
    }

    /// Compiles kernel `k` unless nobody wants it any more; whether it is there.
    fn compile(&self, gpu: &Gpu, source: &Source, k: usize, deadline: Instant) -> bool {
        if self.is_stopped() {
            return false;
        }
        let progress = gpu.kernel_progress();
        if Instant::now() >= deadline {
            if !self.late.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    program = source.name,
                    pending = progress.pending,
                    "kernels take too long, interpreting"
                );
            }
            return false;
        }
        let (text, start) = (kernel_text(source, k, self.groups[k].clone()), Instant::now());
        match gpu.compile_generated(&text) {
            Ok(kernel) => {
                self.put(k, kernel);
                tracing::debug!(kernel = text.name, time = ?start.elapsed(), pending = progress.pending, "kernel compiled");
                true
            }
            Err(error) => {
                tracing::warn!(%error, program = source.name, "generated kernels unavailable, interpreting");
                self.failure.lock().unwrap_or_else(|p| p.into_inner()).get_or_insert(error);
                false
            }
        }
    }

    /// A job has ended.
    fn end(&self, gpu: Gpu, left_out: bool) {
        self.pending.end(left_out);
        // what nobody waits for any more is for the next process, and whoever stops waits until it is stored
        if gpu.background().end(left_out) || (self.is_stopped() && !left_out) {
            gpu.store_pipelines();
        }
        drop(gpu);
        self.compiling.end(left_out);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Keeps a kernel; the last one makes all of them ready.
    fn put(&self, k: usize, kernel: CompiledKernel) {
        let _ = self.compiled[k].set(kernel);
        let all: Option<Vec<_>> = self.compiled.iter().map(|kernel| kernel.get().cloned()).collect();
        if let Some(kernels) = all {
            let _ = self.ready.set(kernels);
        }
    }

    /// Waits for a compilation that was started.
    ///
    /// # Errors
    ///
    /// What the shader compiler reports.
    pub(super) fn wait(&self) -> Result<()> {
        self.pending.wait();
        self.failure.lock().unwrap_or_else(|p| p.into_inner()).take().map_or(Ok(()), Err)
    }

    /// Ends compilation: kernels that are queued are left, threads in the driver (compiling, or reading its cache to store it) are waited
    /// for, since a process must not exit while they are there.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.compiling.wait();
    }

    /// The text of every kernel, if they can be compiled.
    pub(super) fn texts<'a>(&'a self, source: &'a Source) -> impl Iterator<Item = GeneratedKernel> + 'a {
        let groups = self.groups.iter().enumerate().filter(|_| self.compilable);
        groups.map(|(k, chunks)| kernel_text(source, k, chunks.clone()))
    }
}

fn is_compilable(chunk: &Chunk) -> bool {
    chunk.instrs.len() <= MAX_GENERATED_INSTRS
}

/// Packs adjacent chunks into kernels.
fn groups(program: &Program) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = vec![];
    let mut instrs = 0;
    for (c, chunk) in program.chunks.iter().enumerate() {
        instrs += chunk.instrs.len();
        match groups.last_mut() {
            Some(group) if instrs <= KERNEL_INSTRS => group.end = c + 1,
            _ => {
                groups.push(c..c + 1);
                instrs = chunk.instrs.len();
            }
        }
    }
    groups
}

/// Threads of their own, half as many as there are cores, so that compilation holds up neither the prover nor who shares the global pool.
fn compiler_threads() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.thread_name(|i| format!("wgsl-compiler-{i}")).build().expect("threads can be started")
    })
}

/// Kernel `k`: the statements of its chunks in the file of its row kind.
fn kernel_text(source: &Source, k: usize, chunks: Range<usize>) -> GeneratedKernel {
    let decl = match source.kind {
        RowKind::Points => SumPoints::DECL,
        RowKind::Lines => SumLines::DECL,
        RowKind::Emit => EmitFractions::DECL,
    };
    GeneratedKernel::new(format!("{} kernel {k}", source.name), decl, &evaluate_text(source, chunks))
}

/// `evaluate(z)`, which runs the `z`-th of these chunks: a function each, so that no workgroup fetches another one's code.
fn evaluate_text(source: &Source, chunks: Range<usize>) -> String {
    let program = source.generated();
    let body = |c: usize| chunk_body(program, &program.chunks[c], &source.layout, source.kind == RowKind::Lines);
    if chunks.len() == 1 {
        return format!("fn evaluate(z: u32) {{\n{}}}\n", body(chunks.start));
    }
    let (mut functions, mut cases) = (String::new(), String::new());
    for (z, c) in chunks.clone().enumerate() {
        functions += &format!("fn chunk_{z}() {{\n{}}}\n\n", body(c));
        let label = if z + 1 < chunks.len() { format!("case {z}u") } else { "default".into() };
        cases += &format!("    {label}: {{\n      chunk_{z}();\n    }}\n");
    }
    format!("{functions}fn evaluate(z: u32) {{\n  switch z {{\n{cases}  }}\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        constraints::{Instr, Operand, TileLayout},
        gpu::{testing, GpuOptions},
    };
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;
    use p3_field::PrimeCharacteristicRing;

    /// What takes a compiler minutes stays with the interpreter.
    #[test]
    fn large_chunks_are_not_compiled() {
        let instr = Instr::Accumulate { acc: 0, weight: 0, value: Operand::Register(0) };
        let chunk = |instrs| Chunk { instrs: vec![instr; instrs], registers: 1, public_values: vec![] };
        assert!(is_compilable(&chunk(MAX_GENERATED_INSTRS)) && !is_compilable(&chunk(MAX_GENERATED_INSTRS + 1)));
    }

    /// A program of one kernel.
    fn one_kernel(name: &str) -> (Source, Generated) {
        let instrs = vec![Instr::Accumulate { acc: 0, weight: 0, value: Operand::Constant(0) }];
        let chunk = Chunk { instrs, registers: 1, public_values: vec![] };
        let program = Program {
            chunks: vec![chunk],
            columns: vec![],
            constants: vec![F::ONE],
            num_public_values: 0,
            num_accumulators: 1,
            num_weights: 1,
            num_outputs: 0,
        };
        let generated = Generated::new(&program, RowKind::Points);
        let (layout, kind) = (TileLayout::used([]), RowKind::Points);
        (Source { program, in_kernels: None, layout, kind, name: name.into() }, generated)
    }

    /// When time is up, what is left stays with the interpreter.
    #[test]
    fn time_that_is_up_leaves_kernels_out() {
        let (source, generated) = one_kernel("late");
        let gpu = testing::gpu();
        assert!(!generated.compile(&gpu, &source, 0, Instant::now()));
        assert!(generated.late.load(Ordering::Relaxed) && !generated.is_ready());
        generated.wait().expect("to be late is no error");
        assert!(generated.compile(&gpu, &source, 0, Instant::now() + COMPILE_TIME_SLOW) && generated.is_ready());
    }

    /// A process that ends waits for compilers: the next one has what they made.
    #[test]
    fn what_is_stopped_is_stored() {
        if testing::on_machine() || !testing::gpu().capabilities().pipeline_cache {
            return;
        }
        let folder = testing::Folder::new("stopped");
        let options = GpuOptions { cache_folder: Some(folder.path().into()), ..GpuOptions::default() };
        let gpu = Gpu::new(&options).unwrap();
        let (source, generated) = one_kernel("stopped");
        // another one is still being compiled
        for _ in 0..2 {
            generated.pending.begin();
            generated.compiling.begin();
            gpu.background().begin();
        }
        assert!(generated.compile(&gpu, &source, 0, Instant::now() + COMPILE_TIME_SLOW));
        let stored = || std::fs::read_dir(folder.path()).unwrap().count();
        generated.stopped.store(true, Ordering::SeqCst);
        assert_eq!(stored(), 0);
        generated.end(gpu.clone(), false);
        assert_eq!(stored(), 1);
    }
}
