//! Generated kernels of a program: text, compilation in parallel, and when it starts.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc, Mutex, OnceLock,
    },
    thread::JoinHandle,
};

use rayon::prelude::*;

use super::{program::Source, RowKind};
use crate::{
    constraints::{wgsl::chunk_body, Chunk, Program, MAX_CHUNK_COST},
    error::Result,
    gpu::{Access, CompiledKernel, GeneratedKernel, Gpu},
};

/// Instructions beyond which a chunk stays with the interpreter: compile time grows faster than linearly (5,000
/// statements: 23 s on NVIDIA, 122 s on lavapipe). Only a single constraint or interaction can be this large.
const MAX_GENERATED_INSTRS: usize = 2 * MAX_CHUNK_COST;

/// Evaluations after which compiling a program pays: interpreting 2^15 rows costs what compiling saves on later ones
/// (a GPU's compiler runs beside it; a software driver's takes the cores that evaluate).
const COMPILE_AFTER: usize = 1 << 15;
const COMPILE_AFTER_SOFTWARE: usize = 1 << 20;

/// Chunks beyond which a program stays with the interpreter unless generated kernels are asked for: every generated chunk is a dispatch of
/// its own. Measured on an H200: keccak 10 (45 chunks in round 0, 261 in the MLE rounds) takes 273 ms on generated kernels, 72 ms
/// interpreted, and two minutes to compile.
const MAX_GENERATED_CHUNKS: usize = 8;

/// The generated kernels of one program's chunks, as far as they are compiled.
pub(super) struct Generated {
    kernels: Vec<OnceLock<CompiledKernel>>,
    /// Rows evaluated so far.
    evaluations: AtomicUsize,
    started: AtomicBool,
    stopped: AtomicBool,
    background: Mutex<Option<JoinHandle<()>>>,
}

impl Generated {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            kernels: program.chunks.iter().map(|_| OnceLock::new()).collect(),
            evaluations: AtomicUsize::new(0),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            background: Mutex::default(),
        }
    }

    /// The kernel of chunk `c`, if it is compiled.
    pub(super) fn kernel(&self, c: usize) -> Option<&CompiledKernel> {
        self.kernels[c].get()
    }

    pub(super) fn num_ready(&self) -> usize {
        self.kernels.iter().filter(|kernel| kernel.get().is_some()).count()
    }

    /// Counts `evaluations` rows; the call that makes compilation pay starts it in the background.
    pub(super) fn count(self: &Arc<Self>, gpu: &Gpu, source: &Arc<Source>, evaluations: usize) {
        let threshold = if gpu.capabilities().software { COMPILE_AFTER_SOFTWARE } else { COMPILE_AFTER };
        let seen = self.evaluations.fetch_add(evaluations, Ordering::Relaxed) + evaluations;
        let many = self.kernels.len() > MAX_GENERATED_CHUNKS;
        if many || seen < threshold || self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let (this, gpu, source) = (self.clone(), gpu.clone(), source.clone());
        let compile = move || match this.compile(&gpu, &source, |_| true) {
            Ok(()) => gpu.store_pipelines(),
            Err(error) => tracing::warn!(%error, program = source.name, "generated kernels unavailable, interpreting"),
        };
        match std::thread::Builder::new().name("wgsl-compiler".into()).spawn(compile) {
            Ok(handle) => *self.background.lock().unwrap_or_else(|p| p.into_inner()) = Some(handle),
            Err(error) => tracing::warn!(%error, "no thread to compile generated kernels, interpreting"),
        }
    }

    /// Ends compilation in the background and waits for the kernels that are being compiled: a process must not exit while its threads
    /// are in the driver.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let handle = self.background.lock().unwrap_or_else(|p| p.into_inner()).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::warn!("the compiler of generated kernels panicked");
        }
    }

    /// Compiles every chunk that is wanted and not too large, several at a time.
    pub(super) fn compile(&self, gpu: &Gpu, source: &Source, wanted: impl Fn(usize) -> bool + Sync) -> Result<()> {
        let chunks = source.program.chunks.par_iter().zip(&self.kernels).enumerate();
        let compile = |(c, (chunk, kernel)): (usize, (&Chunk, &OnceLock<CompiledKernel>))| {
            let stopped = self.stopped.load(Ordering::Relaxed);
            if !stopped && wanted(c) && is_compilable(chunk) && kernel.get().is_none() {
                // another thread may have been first: both kernels are the same
                let _ = kernel.set(gpu.compile_generated(&kernel_text(source, c))?);
            }
            Ok(())
        };
        compiler_threads().install(|| chunks.try_for_each(compile))
    }
}

fn is_compilable(chunk: &Chunk) -> bool {
    chunk.instrs.len() <= MAX_GENERATED_INSTRS
}

/// The generated kernels of all chunks that are not too large.
pub(super) fn kernel_texts(source: &Source) -> impl Iterator<Item = GeneratedKernel> + '_ {
    let chunks = source.program.chunks.iter().enumerate();
    chunks.filter(|(_, chunk)| is_compilable(chunk)).map(|(c, _)| kernel_text(source, c))
}

/// Threads of their own, so that compilation never holds up who shares the global pool.
fn compiler_threads() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.thread_name(|i| format!("wgsl-compiler-{i}")).build().expect("threads can be started")
    })
}

/// The kernel of chunk `c`: the frame of its row kind around the chunk's statements.
fn kernel_text(source: &Source, c: usize) -> GeneratedKernel {
    use Access::{Read, ReadWrite};
    let (frame, bindings, params) = match source.kind {
        RowKind::Points => (
            include_str!("../../../wgsl/constraints/points.wgsl"),
            vec![Read, Read, Read, Read, ReadWrite],
            super::sums::POINTS_PARAMS,
        ),
        RowKind::Lines => (
            include_str!("../../../wgsl/constraints/lines.wgsl"),
            vec![Read, Read, Read, Read, ReadWrite],
            super::sums::LINES_PARAMS,
        ),
        RowKind::Emit => (
            include_str!("../../../wgsl/constraints/emit.wgsl"),
            vec![Read, Read, Read, Read, ReadWrite, ReadWrite],
            super::emit::EMIT_PARAMS,
        ),
    };
    let body = chunk_body(&source.program, &source.program.chunks[c], &source.layout);
    let evaluate = format!("fn evaluate(chunk: u32) {{\n{body}}}\n");
    GeneratedKernel {
        name: format!("{} chunk {c}", source.name),
        wgsl: frame.replace("// GENERATED\n", &evaluate),
        bindings,
        params,
        workgroup: 64,
    }
}
