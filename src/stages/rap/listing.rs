//! What work lists read of all AIRs, and which AIRs they serve.

use std::{cell::OnceCell, sync::Arc};

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{input::RapInput, round0::Weights};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu},
    kernels::constraints::{ListTables, ListedAir, ProgramTable},
};

/// Programs and constants of the AIRs that are present, in one buffer each.
pub(super) struct Listing {
    table: Arc<ProgramTable>,
    /// Place of each AIR in the table.
    places: Vec<usize>,
    constants: DeviceBuffer<F>,
    /// First constant of each AIR.
    constants_at: Vec<usize>,
    /// The constants of those AIRs that were asked for by themselves.
    own_constants: Vec<OnceCell<DeviceBuffer<F>>>,
}

impl Listing {
    /// Uploads the constants, and the programs unless the proving key's transport has put them together.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn new(gpu: &Gpu, input: &RapInput<'_>) -> Result<Self> {
        let (table, places) = match Self::shared(input) {
            Some(shared) => shared,
            None => {
                let table = ProgramTable::new(gpu, input.airs.iter().map(|air| air.evaluator))?;
                (Arc::new(table), (0..input.airs.len()).collect())
            }
        };
        let (mut constants, mut constants_at) = (vec![], vec![]);
        for air in &input.airs {
            constants_at.push(constants.len());
            constants.extend(air.evaluator.constant_values(air.public_values));
        }
        let own_constants = vec![OnceCell::new(); input.airs.len()];
        Ok(Self { table, places, constants: gpu.upload(&constants, "constants")?, constants_at, own_constants })
    }

    /// The table that all AIRs are in, if there is one.
    fn shared(input: &RapInput<'_>) -> Option<(Arc<ProgramTable>, Vec<usize>)> {
        let tables: Vec<_> = input.airs.iter().map(|air| air.evaluator.table()).collect::<Option<_>>()?;
        let (first, _) = tables.first()?;
        let one = tables.iter().all(|(table, _)| Arc::ptr_eq(table, first));
        one.then(|| ((*first).clone(), tables.iter().map(|(_, at)| *at).collect()))
    }

    /// The programs of the `a`-th AIR.
    pub(super) fn air(&self, a: usize) -> &ListedAir {
        self.table.air(self.places[a])
    }

    /// First constant of the `a`-th AIR.
    pub(super) fn constants_at(&self, a: usize) -> usize {
        self.constants_at[a]
    }

    /// The constants of the `a`-th AIR in a buffer of their own, for an AIR that is evaluated by itself.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn constants_of(&self, gpu: &Gpu, input: &RapInput<'_>, a: usize) -> Result<&DeviceBuffer<F>> {
        if let Some(constants) = self.own_constants[a].get() {
            return Ok(constants);
        }
        let constants = input.airs[a].evaluator.constants(gpu, input.airs[a].public_values)?;
        Ok(self.own_constants[a].get_or_init(|| constants))
    }

    /// Constants and public values of all AIRs.
    pub(super) fn constants(&self) -> &DeviceBuffer<F> {
        &self.constants
    }

    /// Records of all programs.
    pub(super) fn records(&self) -> &DeviceBuffer<u32> {
        self.table.records()
    }

    /// What lists bind.
    pub(super) fn tables<'a>(&'a self, weights: &'a Weights) -> ListTables<'a> {
        let eq: &DeviceBuffer<EF> = weights.eq_xi.values().next().expect("an AIR is present").buffer();
        ListTables {
            constants: &self.constants,
            lambda: &weights.lambda,
            logup: &weights.logup,
            eq,
            records: self.table.records(),
        }
    }
}
