//! The programs of all AIRs of a proof in one buffer, as work lists evaluate them.

use std::sync::Arc;

use super::{AirEvaluator, RowKind};
use crate::{
    constraints::{encode::EncodedProgram, Chunk, Program, TileLayout},
    error::Result,
    gpu::{DeviceBuffer, Gpu},
};

/// Evaluations up to which latency is what counts, so that the shortest chunks serve, whatever they repeat.
const FEW_EVALUATIONS: usize = 512;

/// One form of a program in the table of all.
#[derive(Clone, Debug)]
pub struct Form {
    encoded: Arc<EncodedProgram>,
    /// Instructions of each chunk.
    costs: Vec<usize>,
    /// Number of accumulators that carry a result.
    pub accumulators: usize,
    /// Where its records begin in [`ProgramTable`].
    records_at: usize,
}

impl Form {
    /// A program that emits, unless the interpreter's registers do not suffice.
    pub fn emitting(program: &Program, layout: &TileLayout) -> Option<Self> {
        fits(program).then(|| Self::new(program, layout, RowKind::Emit))
    }

    fn new(program: &Program, layout: &TileLayout, kind: RowKind) -> Self {
        Self {
            encoded: Arc::new(EncodedProgram::new(program, layout, kind == RowKind::Lines)),
            costs: program.chunks.iter().map(|chunk| chunk.instrs.len()).collect(),
            accumulators: program.num_accumulators as usize,
            records_at: 0,
        }
    }

    /// Instructions of each chunk.
    pub(super) fn costs(&self) -> &[usize] {
        &self.costs
    }

    pub(super) fn records_at(&self) -> usize {
        self.records_at
    }
}

/// Whether the interpreter's registers suffice.
fn fits(program: &Program) -> bool {
    program.chunks.iter().map(Chunk::spilled_registers).all(|spilled| spilled == 0)
}

/// A program in two forms: chunks that repeat little, for many rows, and short ones, for few.
#[derive(Clone, Debug)]
pub struct ListedProgram {
    large: Form,
    short: Form,
    /// Whether the interpreter's registers suffice.
    listable: bool,
}

impl ListedProgram {
    /// `large` and `short` are forms of one program.
    pub fn new(large: &Program, short: &Program, layout: &TileLayout, kind: RowKind) -> Self {
        Self {
            large: Form::new(large, layout, kind),
            short: Form::new(short, layout, kind),
            listable: fits(large) && fits(short),
        }
    }

    /// The form for so many evaluations.
    pub fn form(&self, gpu: &Gpu, evaluations: usize) -> &Form {
        // a software driver has no idle cores
        match evaluations <= FEW_EVALUATIONS && !gpu.capabilities().software {
            true => &self.short,
            false => &self.large,
        }
    }

    /// Both forms, for many rows and for few.
    #[cfg(test)]
    pub(super) fn forms(&self) -> [&Form; 2] {
        [&self.large, &self.short]
    }

    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.large.costs.is_empty()
    }

    /// Operations of a row.
    pub fn cost(&self) -> usize {
        self.large.costs.iter().sum()
    }
}

/// The programs of one AIR that lists evaluate.
#[derive(Clone, Debug)]
pub struct ListedAir {
    /// Round 0, constraints.
    pub round0_zerocheck: ListedProgram,
    /// Round 0, interactions.
    pub round0_logup: ListedProgram,
    /// MLE rounds, constraints.
    pub mle_zerocheck: ListedProgram,
    /// MLE rounds, interactions.
    pub mle_logup: ListedProgram,
    /// GKR input; `None` where the interpreter's registers do not suffice.
    pub gkr_input: Option<Form>,
}

impl ListedAir {
    /// Whether lists can evaluate the programs: no chunk needs more registers than the interpreter has.
    pub fn is_listable(&self) -> bool {
        let programs = [&self.round0_zerocheck, &self.round0_logup, &self.mle_zerocheck, &self.mle_logup];
        programs.into_iter().all(|program| program.listable)
    }

    fn forms(&mut self) -> impl Iterator<Item = &mut Form> {
        let Self { round0_zerocheck, round0_logup, mle_zerocheck, mle_logup, gkr_input } = self;
        let programs = [round0_zerocheck, round0_logup, mle_zerocheck, mle_logup];
        programs.into_iter().flat_map(|program| [&mut program.large, &mut program.short]).chain(gkr_input)
    }
}

/// The programs of several AIRs in one buffer.
pub struct ProgramTable {
    records: DeviceBuffer<u32>,
    airs: Vec<ListedAir>,
}

impl ProgramTable {
    /// Uploads the programs of AIRs.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new<'a>(gpu: &Gpu, airs: impl Iterator<Item = &'a AirEvaluator>) -> Result<Self> {
        let mut airs: Vec<ListedAir> = airs.map(|air| air.listed().clone()).collect();
        let mut records = vec![];
        for form in airs.iter_mut().flat_map(ListedAir::forms) {
            form.records_at = records.len();
            records.extend_from_slice(&form.encoded.records);
        }
        let records = gpu.upload(records.as_flattened(), "constraint programs")?;
        Ok(Self { records, airs })
    }

    /// The records that lists bind.
    pub fn records(&self) -> &DeviceBuffer<u32> {
        &self.records
    }

    /// The programs of the `at`-th AIR.
    pub fn air(&self, at: usize) -> &ListedAir {
        &self.airs[at]
    }
}
