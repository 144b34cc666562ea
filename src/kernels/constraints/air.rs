//! All that the device needs to evaluate one AIR's constraints.

use std::sync::{Arc, OnceLock};

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{
    fill_logup_weights, DeviceProgram, EvaluatorPolicy, Form, ListedAir, ListedProgram, LogupWeightsFill, ProgramForms,
    ProgramTable, RowKind,
};
use crate::{
    constraints::{AirPrograms, LogupWeights, PartWidths, TileLayout},
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
};

/// The programs of one AIR on the device; made when the proving key is transported.
pub struct AirEvaluator {
    /// Round 0: `sum_k lambda^k C_k` on the cosets; reads tiles of [`Self::round0_layout`].
    pub round0_zerocheck: DeviceProgram,
    /// Round 0: the interactions' numerators and denominators; reads tiles of [`Self::round0_layout`].
    pub round0_logup: DeviceProgram,
    /// The GKR input; has its own tile layout.
    pub gkr_input: DeviceProgram,
    /// MLE rounds: `sum_k lambda^k C_k`; reads tiles of [`Self::mle_layout`].
    pub mle_zerocheck: DeviceProgram,
    /// MLE rounds: the interactions; reads tiles of [`Self::mle_layout`].
    pub mle_logup: DeviceProgram,
    widths: PartWidths,
    logup_weights: LogupWeights,
    logup_entries: DeviceBuffer<u32>,
    constants: Vec<F>,
    num_public_values: usize,
    listed: ListedAir,
    /// The table of the proving key's programs, and this AIR's place in it.
    table: OnceLock<(Arc<ProgramTable>, usize)>,
}

impl AirEvaluator {
    /// Uploads the programs of the AIR called `name`. With [`EvaluatorPolicy::Generated`] this compiles their kernels, on several threads,
    /// and returns when done.
    ///
    /// # Errors
    ///
    /// As [`DeviceProgram::new`], and what the shader compiler reports.
    pub fn new(gpu: &Gpu, programs: &AirPrograms, policy: EvaluatorPolicy, name: &str) -> Result<Self> {
        let (round0, gkr_input, mle) = (programs.round0_layout(), programs.gkr_input_layout(), programs.mle_layout());
        let program = |forms, layout, kind, part: &str| {
            DeviceProgram::new(gpu, (forms, layout), kind, policy, &format!("{name} {part}"))
        };
        let alike = |interpreted| ProgramForms { interpreted, generated: None };
        let both = |interpreted, generated| ProgramForms { interpreted, generated: Some(generated) };
        let zerocheck = both(&programs.zerocheck, &programs.small_zerocheck);
        let logup = both(&programs.logup, &programs.small_logup);
        let evaluator = Self {
            round0_zerocheck: program(zerocheck, &round0, RowKind::Points, "zerocheck round 0")?,
            round0_logup: program(logup, &round0, RowKind::Points, "logup round 0")?,
            gkr_input: program(alike(&programs.interactions), &gkr_input, RowKind::Emit, "interactions")?,
            mle_zerocheck: program(alike(&programs.small_zerocheck), &mle, RowKind::Lines, "zerocheck MLE")?,
            mle_logup: program(alike(&programs.small_logup), &mle, RowKind::Lines, "logup MLE")?,
            widths: programs.widths.clone(),
            logup_weights: programs.logup_weights.clone(),
            logup_entries: gpu.upload(programs.logup_weights.entries().as_flattened(), "logup weights")?,
            constants: programs.zerocheck.constants.clone(),
            num_public_values: programs.zerocheck.num_public_values,
            listed: listed(programs, &round0, &gkr_input, &mle),
            table: OnceLock::new(),
        };
        if policy == EvaluatorPolicy::Generated {
            evaluator.programs().into_iter().try_for_each(DeviceProgram::wait_for_kernels)?;
        }
        Ok(evaluator)
    }

    /// Puts the programs of AIRs that are proved together into one table, so that proofs need not.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn share_table(gpu: &Gpu, airs: &[&Self]) -> Result<()> {
        let table = Arc::new(ProgramTable::new(gpu, airs.iter().copied())?);
        for (at, air) in airs.iter().enumerate() {
            // the first table stays
            let _ = air.table.set((table.clone(), at));
        }
        Ok(())
    }

    /// The table of [`Self::share_table`] and this AIR's place in it.
    pub fn table(&self) -> Option<(&Arc<ProgramTable>, usize)> {
        self.table.get().map(|(table, at)| (table, *at))
    }

    /// The programs that work lists evaluate.
    pub fn listed(&self) -> &ListedAir {
        &self.listed
    }

    /// All programs.
    pub fn programs(&self) -> [&DeviceProgram; 5] {
        [&self.round0_zerocheck, &self.round0_logup, &self.gkr_input, &self.mle_zerocheck, &self.mle_logup]
    }

    /// Layout of round 0's tiles: the columns that zerocheck and logup read.
    pub fn round0_layout(&self) -> &TileLayout {
        self.round0_zerocheck.layout()
    }

    /// Layout of the MLE rounds' tiles: every column.
    pub fn mle_layout(&self) -> &TileLayout {
        self.mle_zerocheck.layout()
    }

    /// Layout of the GKR input's tiles: the columns that interactions read.
    pub fn gkr_input_layout(&self) -> &TileLayout {
        self.gkr_input.layout()
    }

    /// Widths of the AIR's matrices.
    pub fn widths(&self) -> &PartWidths {
        &self.widths
    }

    /// Layout of the logup weights.
    pub fn logup_weights(&self) -> &LogupWeights {
        &self.logup_weights
    }

    /// Number of constraints.
    pub fn num_constraints(&self) -> usize {
        self.round0_zerocheck.program().num_weights
    }

    /// Number of interactions.
    pub fn num_interactions(&self) -> usize {
        self.logup_weights.num_interactions()
    }

    /// The constants that every program of this AIR binds, for a proof with these public values.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// For a wrong number of public values.
    pub fn constants(&self, gpu: &Gpu, public_values: &[F]) -> Result<DeviceBuffer<F>> {
        gpu.upload(&self.constant_values(public_values), "constants")
    }

    /// The values of [`Self::constants`].
    ///
    /// # Panics
    ///
    /// For a wrong number of public values.
    pub fn constant_values(&self, public_values: &[F]) -> Vec<F> {
        assert_eq!(public_values.len(), self.num_public_values, "public values of the AIR");
        [&self.constants, public_values].concat()
    }

    /// Fills `weights` for [`Self::round0_logup`] and [`Self::mle_logup`]: `eq_3b` has an element per interaction from
    /// `eq_offset` on, `beta_powers` reaches `beta^max_message_len`.
    pub fn fill_summed_weights(
        &self,
        rec: &mut Recorder,
        (eq_3b, eq_offset): (&DeviceBuffer<EF>, usize),
        beta_powers: &DeviceBuffer<EF>,
        weights: &DeviceBuffer<EF>,
    ) {
        self.fill_weights(rec, Some((eq_3b, eq_offset)), beta_powers, weights);
    }

    /// Fills `weights` for [`Self::gkr_input`], but for alpha, which belongs behind them (element `logup_weights().len()`).
    pub fn fill_emitted_weights(&self, rec: &mut Recorder, beta_powers: &DeviceBuffer<EF>, weights: &DeviceBuffer<EF>) {
        self.fill_weights(rec, None, beta_powers, weights);
    }

    fn fill_weights(
        &self,
        rec: &mut Recorder,
        eq_3b: Option<(&DeviceBuffer<EF>, usize)>,
        beta_powers: &DeviceBuffer<EF>,
        weights: &DeviceBuffer<EF>,
    ) {
        if self.logup_weights.is_empty() {
            return;
        }
        let (layout, entries) = (&self.logup_weights, &self.logup_entries);
        fill_logup_weights(rec, &LogupWeightsFill { layout, entries, beta_powers, eq_3b, weights });
    }
}

fn listed(programs: &AirPrograms, round0: &TileLayout, gkr_input: &TileLayout, mle: &TileLayout) -> ListedAir {
    let zerocheck =
        |layout, kind| ListedProgram::new(&programs.small_zerocheck, &programs.short_zerocheck, layout, kind);
    let logup = |layout, kind| ListedProgram::new(&programs.small_logup, &programs.short_logup, layout, kind);
    ListedAir {
        round0_zerocheck: zerocheck(round0, RowKind::Points),
        round0_logup: logup(round0, RowKind::Points),
        mle_zerocheck: zerocheck(mle, RowKind::Lines),
        mle_logup: logup(mle, RowKind::Lines),
        gkr_input: Form::emitting(&programs.interactions, gkr_input),
    }
}
