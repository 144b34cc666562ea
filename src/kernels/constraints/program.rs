//! A program on the device and the plan of its dispatches.

use std::{ops::Range, sync::Arc};

use super::generated::{self, Generated};
use crate::{
    constraints::{encode::EncodedProgram, Chunk, Instr, Program, TileLayout},
    error::Result,
    gpu::{CompiledKernel, DeviceBuffer, GeneratedKernel, Gpu, Grid},
};

/// Which evaluator runs constraint programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EvaluatorPolicy {
    /// The interpreter until a program has run often enough for compilation to pay; then its generated kernels, as soon as
    /// they are compiled in the background.
    #[default]
    Auto,
    /// Always the interpreter.
    Interpreter,
    /// Generated kernels, compiled before the first evaluation. Chunks too large to compile in reasonable time are
    /// interpreted.
    Generated,
}

/// What the rows of a program's tile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// F on the cosets of round 0: row `x * points + p`.
    Points,
    /// EF in the MLE rounds: rows `2 y`, `2 y + 1`, evaluated on the line through them at `X = 1..=points`.
    Lines,
    /// F on the trace, every interaction emitted as a fraction (GKR input).
    Emit,
}

impl RowKind {
    /// Evaluations of a workgroup of 64 threads.
    pub(super) fn rows_per_workgroup(self) -> usize {
        match self {
            Self::Points | Self::Emit => 256,
            Self::Lines => 64,
        }
    }

    /// Cost of an instruction on one row, in those of the base field.
    fn instruction_cost(self) -> u64 {
        match self {
            Self::Points | Self::Emit => 1,
            Self::Lines => 12,
        }
    }
}

/// Instructions times rows of one dispatch: about 20 ms of interpretation on an 8-core M1 (estimated from a tenth of its
/// 58 G multiplications/s), 1 ms on an H200 (measured 391 G/s).
const MAX_DISPATCH_COST: u64 = 1 << 28;

/// Chunks of one dispatch: the limit of a dispatch dimension.
const MAX_BATCH: usize = 65_535;

/// Words that a workgroup of 64 threads needs for a spilled register: a vector each.
const SPILL_WORDS: usize = 64 * 4;

/// Bytes for spilled registers: enough workgroups at once to fill a GPU with a few hundred registers each.
const SPILL_TARGET: usize = 16 << 20;

/// Evaluations below which [`EvaluatorPolicy::Auto`] interprets even if kernels are compiled: those are one dispatch a chunk,
/// which so few rows do not fill.
const GENERATED_MIN_EVALUATIONS: usize = 1 << 12;

/// A program with its layout, which the device forms are made from.
pub(super) struct Source {
    pub(super) program: Program,
    pub(super) layout: TileLayout,
    pub(super) kind: RowKind,
    pub(super) name: String,
}

/// A program on the device.
pub struct DeviceProgram {
    pub(super) source: Arc<Source>,
    pub(super) records: DeviceBuffer<u32>,
    pub(super) chunks: DeviceBuffer<u32>,
    pub(super) generated: Arc<Generated>,
    pub(super) policy: EvaluatorPolicy,
    /// Where the interpreter keeps registers beyond its file; one word if no chunk has any.
    pub(super) spill: DeviceBuffer<u32>,
    /// Outputs that each chunk emits.
    pub(super) outputs: Vec<Vec<u32>>,
}

/// What one dispatch covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) chunks: Range<usize>,
    pub(super) workgroups: Range<usize>,
}

/// One dispatch: of the generated kernel of its single chunk, or else of the interpreter.
pub(super) struct Dispatch {
    pub(super) kernel: Option<CompiledKernel>,
    pub(super) slice: Slice,
}

impl DeviceProgram {
    /// Uploads `program` for tiles of `layout` with rows of `kind`; `name` names its kernels in errors.
    ///
    /// With [`EvaluatorPolicy::Generated`] this compiles its kernels, on several threads, and returns when done.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`], and what the shader compiler reports.
    ///
    /// # Panics
    ///
    /// If `layout` lacks a column that the program reads.
    pub fn new(
        gpu: &Gpu,
        (program, layout): (&Program, &TileLayout),
        kind: RowKind,
        policy: EvaluatorPolicy,
        name: &str,
    ) -> Result<Self> {
        let encoded = EncodedProgram::new(program, layout, kind == RowKind::Lines);
        let source = Arc::new(Source { program: program.clone(), layout: layout.clone(), kind, name: name.to_owned() });
        let generated = Arc::new(Generated::new(program));
        if policy == EvaluatorPolicy::Generated {
            generated.compile(gpu, &source, |_| true)?;
        }
        let spilled = program.chunks.iter().map(Chunk::spilled_registers).max().unwrap_or(0);
        Ok(Self {
            records: gpu.upload(encoded.records.as_flattened(), "constraint program")?,
            chunks: gpu.upload(encoded.chunks.as_flattened(), "constraint program")?,
            generated,
            policy,
            spill: spill_buffer(gpu, spilled)?,
            outputs: program.chunks.iter().map(emitted).collect(),
            source,
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.source.program
    }

    /// The layout of the tiles that this reads.
    pub fn layout(&self) -> &TileLayout {
        &self.source.layout
    }

    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.source.program.is_empty()
    }

    /// Elements of scratch that a summed evaluation of this many rows needs.
    pub fn partials_len(&self, evaluations: usize) -> usize {
        let program = &self.source.program;
        program.chunks.len() * program.num_accumulators as usize * evaluations
    }

    /// Chunks whose generated kernel is compiled.
    pub fn generated_chunks(&self) -> usize {
        self.generated.num_ready()
    }

    /// Compiles the generated kernels of some chunks, and runs those from now on; the others stay interpreted.
    #[cfg(test)]
    pub(super) fn generate_some(&mut self, gpu: &Gpu, wanted: impl Fn(usize) -> bool + Sync) -> Result<()> {
        self.policy = EvaluatorPolicy::Generated;
        self.generated.compile(gpu, &self.source, wanted)
    }

    /// The text of every kernel that can be generated from this program, whether or not it is compiled.
    pub fn generated_kernels(&self) -> impl Iterator<Item = GeneratedKernel> + '_ {
        generated::kernel_texts(&self.source)
    }

    /// The dispatches that evaluate the chunks that `wanted` accepts on `evaluations` rows.
    ///
    /// Counts the rows, which may start compilation in the background; what is compiled is looked up once, so that a chunk
    /// that becomes ready meanwhile is not run twice.
    pub(super) fn plan(&self, gpu: &Gpu, evaluations: usize, wanted: impl Fn(usize) -> bool) -> Vec<Dispatch> {
        if self.policy == EvaluatorPolicy::Auto {
            self.generated.count(gpu, &self.source, evaluations);
        }
        let generated = match self.policy {
            EvaluatorPolicy::Interpreter => false,
            EvaluatorPolicy::Generated => true,
            EvaluatorPolicy::Auto => evaluations >= GENERATED_MIN_EVALUATIONS,
        };
        let mut dispatches: Vec<Dispatch> = vec![];
        for c in (0..self.outputs.len()).filter(|&c| wanted(c)) {
            let kernel = if generated { self.generated.kernel(c).cloned() } else { None };
            match dispatches.last_mut() {
                Some(last) if kernel.is_none() && self.joins(last, c, evaluations) => last.slice.chunks.end += 1,
                _ => {
                    let workgroups = 0..self.workgroups(evaluations);
                    dispatches.push(Dispatch { kernel, slice: Slice { chunks: c..c + 1, workgroups } });
                }
            }
        }
        dispatches.into_iter().flat_map(|dispatch| self.split_rows(dispatch)).collect()
    }

    fn workgroups(&self, evaluations: usize) -> usize {
        evaluations.div_ceil(self.source.kind.rows_per_workgroup())
    }

    /// Whether interpreted chunk `c` can follow in the same dispatch.
    fn joins(&self, last: &Dispatch, c: usize, evaluations: usize) -> bool {
        let chunks = &last.slice.chunks;
        let longer = self.workgroup_cost(chunks.start..c + 1) * self.workgroups(evaluations) as u64;
        last.kernel.is_none()
            && chunks.end == c
            && !self.spills(c)
            && !self.spills(chunks.start)
            && chunks.len() < MAX_BATCH
            && longer <= MAX_DISPATCH_COST
    }

    /// Whether the interpreter runs chunk `c` with registers in [`Self::spill`]; its dispatches hold no other chunk.
    pub(super) fn spills(&self, c: usize) -> bool {
        self.source.program.chunks[c].spilled_registers() > 0
    }

    fn workgroup_cost(&self, chunks: Range<usize>) -> u64 {
        let kind = self.source.kind;
        let instrs: usize = self.source.program.chunks[chunks].iter().map(|chunk| chunk.instrs.len()).sum();
        kind.instruction_cost() * (kind.rows_per_workgroup() * instrs) as u64
    }

    /// Cuts the rows of a dispatch that would take too long, or more room for registers than there is, even with its single chunk.
    fn split_rows(&self, dispatch: Dispatch) -> Vec<Dispatch> {
        let cost = self.workgroup_cost(dispatch.slice.chunks.clone()).max(1);
        let mut step = (MAX_DISPATCH_COST / cost).max(1) as usize;
        if dispatch.kernel.is_none() {
            let spilled = self.source.program.chunks[dispatch.slice.chunks.start].spilled_registers() as usize;
            step = step.min(self.spill.len().checked_div(spilled * SPILL_WORDS).unwrap_or(step)).max(1);
        }
        let end = dispatch.slice.workgroups.end;
        let slice = |first: usize| Slice { workgroups: first..(first + step).min(end), ..dispatch.slice.clone() };
        let firsts = dispatch.slice.workgroups.clone().step_by(step);
        firsts.map(|first| Dispatch { kernel: dispatch.kernel.clone(), slice: slice(first) }).collect()
    }
}

impl Drop for DeviceProgram {
    fn drop(&mut self) {
        self.generated.stop();
    }
}

impl Slice {
    /// Workgroups along x and y, chunks along z.
    pub(super) fn grid(&self) -> Grid {
        Grid::workgroups(self.workgroups.len()).batched(self.chunks.len())
    }
}

/// Room for the spilled registers of at least one workgroup, and of as many as [`SPILL_TARGET`] holds.
fn spill_buffer(gpu: &Gpu, registers: u32) -> Result<DeviceBuffer<u32>> {
    if registers == 0 {
        return gpu.table("no spilled registers", || vec![0u32]);
    }
    let workgroup = registers as usize * SPILL_WORDS;
    gpu.alloc(workgroup * (SPILL_TARGET / (4 * workgroup)).max(1), "spilled registers")
}

fn emitted(chunk: &Chunk) -> Vec<u32> {
    let output = |instr: &Instr| match instr {
        Instr::Emit { output, .. } => Some(*output),
        _ => None,
    };
    chunk.instrs.iter().filter_map(output).collect()
}
