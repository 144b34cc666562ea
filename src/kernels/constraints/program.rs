//! A program on the device and the plan of its dispatches.

use std::{ops::Range, sync::Arc};

use super::generated::Generated;
use crate::{
    constraints::{encode::EncodedProgram, Chunk, Instr, Program, TileLayout},
    error::Result,
    gpu::{CompiledKernel, DeviceBuffer, GeneratedKernel, Gpu, Grid, Kernel, Recorder},
};

/// Which evaluator runs constraint programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvaluatorPolicy {
    /// The interpreter until a program's generated kernels are compiled, which happens in the background, from when evaluations have been large
    /// enough for compilation to pay; in the MLE rounds only where kernels are few.
    /// Software drivers compile nothing before a program of few kernels has run long.
    #[default]
    Auto,
    /// Always the interpreter.
    Interpreter,
    /// Generated kernels wherever they pay, compiled before the first evaluation.
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
    /// Evaluations of a workgroup: of the interpreter's 64 threads, and of a generated kernel's.
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

    /// Cost of one pass of a workgroup of the interpreter over `instrs` instructions.
    pub(super) fn workgroup_cost(self, instrs: usize) -> u64 {
        self.instruction_cost() * (self.rows_per_workgroup() * instrs) as u64
    }
}

/// Instructions times rows of one dispatch: about 20 ms of interpretation on an 8-core M1 (estimated from a tenth of its
/// 58 G multiplications/s), 1 ms on an H200 (measured 391 G/s).
pub(super) const MAX_DISPATCH_COST: u64 = 1 << 28;

/// The same for a generated kernel over the base field, whose instructions are this many times as fast.
const GENERATED_SPEED: u64 = 4;

/// Chunks of one dispatch: the limit of a dispatch dimension.
const MAX_BATCH: usize = 65_535;

/// Words that a workgroup of 64 threads needs for a spilled register: a vector each.
const SPILL_WORDS: usize = 64 * 4;

/// Bytes for spilled registers: enough workgroups at once to fill a GPU with a few hundred registers each.
const SPILL_TARGET: usize = 16 << 20;

/// Evaluations below which [`EvaluatorPolicy::Auto`] interprets even if kernels are compiled: those are one dispatch a chunk,
/// which so few rows do not fill.
const GENERATED_MIN_EVALUATIONS: usize = 1 << 12;

/// Evaluations, and cost of all of them, below which lists evaluate a program even if its kernels are compiled: a dispatch a kernel
/// pays where one AIR fills a device by itself. (MLE rounds: a chunk is hundreds of KiB of code, which few warps run once.)
const KERNELS_FROM_LINES: usize = 1 << 14;
const KERNELS_FROM_COST: u64 = 1 << 27;

/// A program with its layout, which the device forms are made from.
pub(super) struct Source {
    pub(super) program: Program,
    /// The same in other chunks, for generated kernels.
    pub(super) in_kernels: Option<Program>,
    pub(super) layout: TileLayout,
    pub(super) kind: RowKind,
    pub(super) name: String,
}

impl Source {
    /// What generated kernels evaluate.
    pub(super) fn generated(&self) -> &Program {
        self.in_kernels.as_ref().unwrap_or(&self.program)
    }
}

/// A program as it is given to the device.
#[derive(Clone, Copy)]
pub struct ProgramForms<'a> {
    /// What the interpreter runs.
    pub interpreted: &'a Program,
    /// The same in the chunks of generated kernels; `None`: in the same chunks. Programs that emit have only one form.
    pub generated: Option<&'a Program>,
}

/// A program on the device.
pub struct DeviceProgram {
    pub(super) source: Arc<Source>,
    pub(super) records: DeviceBuffer<u32>,
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

/// One dispatch: of the generated kernel of its chunks, or else of the interpreter.
pub(super) struct ProgramDispatch {
    pub(super) kernel: Option<CompiledKernel>,
    pub(super) slice: Slice,
}

impl ProgramDispatch {
    /// Records the generated kernel with the arguments of the interpreter, or that.
    pub(super) fn record<K: Kernel>(&self, rec: &mut Recorder, interpreter: &K) {
        match &self.kernel {
            Some(generated) => rec.dispatch_generated(generated, interpreter, self.slice.grid()),
            None => rec.dispatch(interpreter, self.slice.grid()),
        }
    }
}

impl DeviceProgram {
    /// Uploads `program` for tiles of `layout` with rows of `kind`; `name` names its kernels in errors.
    ///
    /// Starts the compilation of its kernels where the policy wants them from the start.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// If `layout` lacks a column that the program reads.
    pub fn new(
        gpu: &Gpu,
        (forms, layout): (ProgramForms<'_>, &TileLayout),
        kind: RowKind,
        policy: EvaluatorPolicy,
        name: &str,
    ) -> Result<Self> {
        let program = forms.interpreted;
        let encoded = EncodedProgram::new(program, layout, kind == RowKind::Lines);
        let source = Arc::new(Source {
            program: program.clone(),
            in_kernels: forms.generated.cloned(),
            layout: layout.clone(),
            kind,
            name: name.to_owned(),
        });
        let generated = Arc::new(Generated::new(source.generated(), kind));
        generated.begin(gpu, &source, policy);
        let spilled = program.chunks.iter().map(Chunk::spilled_registers).max().unwrap_or(0);
        Ok(Self {
            records: gpu.upload(encoded.records.as_flattened(), "constraint program")?,
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

    /// Elements of scratch that a summed evaluation of this many rows at `points` points needs, by either evaluator.
    pub fn partials_len(&self, evaluations: usize, points: usize) -> usize {
        let interpreted = self.source.program.chunks.len() * evaluations;
        let generated = self.source.generated().chunks.len() * self.partial_rows(evaluations, points);
        interpreted.max(generated) * self.source.program.num_accumulators as usize
    }

    /// Partial sums of an accumulator that a generated chunk leaves: workgroups of round 0 add up rows with the same point where they can.
    pub(super) fn partial_rows(&self, evaluations: usize, points: usize) -> usize {
        let rows = self.source.kind.rows_per_workgroup();
        match self.source.kind {
            RowKind::Points if points > 0 && rows.is_multiple_of(points) => evaluations.div_ceil(rows) * points,
            _ => evaluations,
        }
    }

    /// Whether generated kernels are compiled and evaluate this program from now on.
    pub fn is_generated(&self) -> bool {
        self.generated.is_ready()
    }

    /// Whether generated kernels are compiled and the policy prefers them, on so many evaluations, to what work lists do: always where it
    /// is [`EvaluatorPolicy::Generated`].
    ///
    /// Counts evaluations that are many, which may start compilation in the background.
    pub fn prefers_kernels(&self, gpu: &Gpu, evaluations: usize) -> bool {
        match self.policy {
            EvaluatorPolicy::Interpreter => false,
            EvaluatorPolicy::Generated => self.is_generated(),
            EvaluatorPolicy::Auto => {
                let pay = self.kernels_pay(evaluations);
                if pay {
                    self.generated.count(gpu, &self.source, evaluations);
                }
                pay && self.is_generated()
            }
        }
    }

    /// Whether generated kernels are faster on so many evaluations than what work lists do.
    fn kernels_pay(&self, evaluations: usize) -> bool {
        let instrs = self.source.program.chunks.iter().map(|chunk| chunk.instrs.len()).sum::<usize>();
        let cost = self.source.kind.instruction_cost() * (evaluations * instrs) as u64;
        let least = match self.source.kind {
            RowKind::Lines => KERNELS_FROM_LINES,
            RowKind::Points | RowKind::Emit => GENERATED_MIN_EVALUATIONS,
        };
        evaluations >= least && cost >= KERNELS_FROM_COST
    }

    /// Waits for kernels whose compilation was started.
    ///
    /// # Errors
    ///
    /// What the shader compiler reports.
    pub fn wait_for_kernels(&self) -> Result<()> {
        self.generated.wait()
    }

    /// The text of every kernel that can be generated from this program, whether or not it is compiled.
    pub fn generated_kernels(&self) -> impl Iterator<Item = GeneratedKernel> + '_ {
        self.generated.texts(&self.source)
    }

    /// The dispatches that evaluate the chunks that `wanted` accepts on `evaluations` rows, either all interpreted or all generated.
    ///
    /// Counts the rows, which may start compilation in the background.
    pub(super) fn plan(&self, gpu: &Gpu, evaluations: usize, wanted: impl Fn(usize) -> bool) -> Vec<ProgramDispatch> {
        if self.policy == EvaluatorPolicy::Auto {
            self.generated.count(gpu, &self.source, evaluations);
        }
        let generated = match self.policy {
            EvaluatorPolicy::Interpreter => false,
            EvaluatorPolicy::Generated => true,
            EvaluatorPolicy::Auto => evaluations >= GENERATED_MIN_EVALUATIONS,
        };
        let workgroups = 0..self.workgroups(evaluations);
        let slice = |chunks| Slice { chunks, workgroups: workgroups.clone() };
        let mut dispatches: Vec<ProgramDispatch> = vec![];
        if let Some(kernels) = self.generated.kernels().filter(|_| generated) {
            for (kernel, chunks) in kernels.filter(|(_, chunks)| wanted(chunks.start)) {
                dispatches.push(ProgramDispatch { kernel: Some(kernel.clone()), slice: slice(chunks.clone()) });
            }
        } else {
            for c in (0..self.outputs.len()).filter(|&c| wanted(c)) {
                match dispatches.last_mut() {
                    Some(last) if self.joins(last, c, evaluations) => last.slice.chunks.end += 1,
                    _ => dispatches.push(ProgramDispatch { kernel: None, slice: slice(c..c + 1) }),
                }
            }
        }
        dispatches.into_iter().flat_map(|dispatch| self.split_rows(dispatch)).collect()
    }

    fn workgroups(&self, evaluations: usize) -> usize {
        evaluations.div_ceil(self.source.kind.rows_per_workgroup())
    }

    /// Whether interpreted chunk `c` can follow in the same dispatch.
    fn joins(&self, last: &ProgramDispatch, c: usize, evaluations: usize) -> bool {
        let chunks = &last.slice.chunks;
        let longer =
            self.workgroup_cost(&self.source.program.chunks[chunks.start..=c]) * self.workgroups(evaluations) as u64;
        chunks.end == c
            && !self.spills(c)
            && !self.spills(chunks.start)
            && chunks.len() < MAX_BATCH
            && longer <= MAX_DISPATCH_COST
    }

    /// Whether a dispatch keeps registers in [`Self::spill`].
    pub(super) fn dispatch_spills(&self, dispatch: &ProgramDispatch) -> bool {
        dispatch.kernel.is_none() && self.spills(dispatch.slice.chunks.start)
    }

    /// Whether the interpreter runs chunk `c` with registers in [`Self::spill`]; its dispatches hold no other chunk.
    pub(super) fn spills(&self, c: usize) -> bool {
        self.source.program.chunks[c].spilled_registers() > 0
    }

    fn workgroup_cost(&self, chunks: &[Chunk]) -> u64 {
        self.source.kind.workgroup_cost(chunks.iter().map(|chunk| chunk.instrs.len()).sum())
    }

    /// Cuts the rows of a dispatch that would take too long, or more room for registers than there is, even with its single chunk.
    fn split_rows(&self, dispatch: ProgramDispatch) -> Vec<ProgramDispatch> {
        let chunks = dispatch.slice.chunks.clone();
        let cost = match &dispatch.kernel {
            None => self.workgroup_cost(&self.source.program.chunks[chunks]),
            Some(_) if self.source.kind == RowKind::Lines => self.workgroup_cost(&self.source.program.chunks[chunks]),
            Some(_) => self.workgroup_cost(&self.source.generated().chunks[chunks]) / GENERATED_SPEED,
        };
        let mut step = (MAX_DISPATCH_COST / cost.max(1)).max(1) as usize;
        if dispatch.kernel.is_none() {
            let spilled = self.source.program.chunks[dispatch.slice.chunks.start].spilled_registers() as usize;
            step = step.min(self.spill.len().checked_div(spilled * SPILL_WORDS).unwrap_or(step)).max(1);
        }
        let end = dispatch.slice.workgroups.end;
        let slice = |first: usize| Slice { workgroups: first..(first + step).min(end), ..dispatch.slice.clone() };
        let firsts = dispatch.slice.workgroups.clone().step_by(step);
        firsts.map(|first| ProgramDispatch { kernel: dispatch.kernel.clone(), slice: slice(first) }).collect()
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
