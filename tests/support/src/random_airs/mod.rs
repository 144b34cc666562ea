//! Random sets of AIRs with traces that satisfy them.
//!
//! proptest varies, and shrinks, an [`AirSetShape`]: how many AIRs, how high, with how many columns
//! of which kind. What the expressions are follows from each shape's seed, so the `Debug` text of a
//! failing shape is all that is needed to see the failure again.

mod air;
mod draft;
mod expr;
mod expressions;

use std::sync::Arc;

use openvm_stark_backend::{
    keygen::{
        types::{KeygenError, MultiStarkProvingKey},
        MultiStarkKeygenBuilder,
    },
    prover::{
        stacked_pcs::stacked_commit, AirProvingContext, ColMajorMatrix, CommittedTraceData, CpuColMajorBackend,
        ProvingContext,
    },
    AirRef, StarkProtocolConfig,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use proptest::{bool::weighted, prelude::*};

use super::params::{small_params, SmallParams};
use draft::{Draft, Table};

/// What one AIR of a set has. Everything that is not counted here follows from `seed`.
#[derive(Clone, Debug)]
pub struct AirShape {
    pub log_height: usize,
    /// Whether the proof has a trace for it.
    pub present: bool,
    /// Whether the verifying key insists on a trace; only present AIRs may be required.
    pub required: bool,
    /// Preprocessed columns.
    pub preprocessed: usize,
    /// Cached mains; fewer if the AIR has too few columns.
    pub cached_mains: usize,
    /// Random columns.
    pub free: usize,
    /// Random bits, constrained to be bits.
    pub bits: usize,
    /// Columns that equal an expression in every row.
    pub defined: usize,
    /// Columns whose next row is an expression of this row.
    pub running: usize,
    /// Columns that equal an expression where a bit or a row selector is one.
    pub selected: usize,
    /// Interactions that send rows of the tables of earlier AIRs.
    pub lookups: usize,
    /// Pairs of interactions that cancel within the AIR.
    pub self_sends: usize,
    /// Offers its rows to the lookups of later AIRs.
    pub table: bool,
    /// Expressions may read the next row.
    pub rotations: bool,
    /// Expressions may use the row selectors.
    pub selectors: bool,
    /// Has public values.
    pub public_values: bool,
    /// Most operations of an expression, shared parts not counted.
    pub expression_size: usize,
    pub seed: u64,
}

/// A set of AIRs and the parameters to prove them with.
#[derive(Clone, Debug)]
pub struct AirSetShape {
    pub params: SmallParams,
    pub airs: Vec<AirShape>,
}

/// One present AIR's trace.
#[derive(Clone, Debug)]
pub struct Trace {
    pub cached_mains: Vec<ColMajorMatrix<F>>,
    pub common_main: ColMajorMatrix<F>,
    pub public_values: Vec<F>,
}

/// The AIRs of an [`AirSetShape`], with traces that satisfy them.
pub struct AirSet {
    /// Each AIR, and whether it is required.
    pub airs: Vec<(AirRef<SC>, bool)>,
    /// Per AIR, `None` where it is absent.
    pub traces: Vec<Option<Trace>>,
}

impl AirSetShape {
    /// Draws the AIRs and their traces. Equal shapes give equal sets.
    pub fn build(&self) -> AirSet {
        let mut drafts: Vec<Draft> = vec![];
        for shape in &self.airs {
            let present = drafts.iter_mut().zip(&self.airs).filter(|(_, shape)| shape.present);
            let mut tables: Vec<&mut Table> = present.filter_map(|(draft, _)| draft.table.as_mut()).collect();
            let draft = draft::draw(shape, self.params.max_constraint_degree, &mut tables);
            drafts.push(draft);
        }
        let (airs, traces) = drafts.into_iter().zip(&self.airs).map(finish).unzip();
        AirSet { airs, traces }
    }
}

/// Writes the multiplicities and takes the columns apart into the trace's parts.
fn finish((draft, shape): (Draft, &AirShape)) -> ((AirRef<SC>, bool), Option<Trace>) {
    let Draft { air, mut columns, public_values, table, multiplicity_column } = draft;
    if let (Some(table), Some(column)) = (table, multiplicity_column) {
        columns[column] = table.multiplicities;
    }
    let mut parts: Vec<Vec<Vec<F>>> =
        air.cached_widths.iter().chain([&air.common_width]).map(|&width| vec![vec![]; width]).collect();
    for (place, values) in air.places.iter().zip(columns) {
        parts[place.part][place.column] = values;
    }
    let mut matrices = parts.into_iter().map(|columns| {
        let width = columns.len();
        ColMajorMatrix::new(columns.concat(), width)
    });
    let cached_mains = matrices.by_ref().take(air.cached_widths.len()).collect();
    let common_main = matrices.next().expect("the common main is the last part");
    let trace = Trace { cached_mains, common_main, public_values };
    let required = shape.present && shape.required;
    ((Arc::new(air) as AirRef<SC>, required), shape.present.then_some(trace))
}

impl AirSet {
    /// Key generation, with the required AIRs required.
    pub fn keygen(&self, config: &SC) -> Result<MultiStarkProvingKey<SC>, KeygenError> {
        let mut builder = MultiStarkKeygenBuilder::new(config.clone());
        for (air, required) in &self.airs {
            match required {
                true => builder.add_required_air(air.clone()),
                false => builder.add_air(air.clone()),
            };
        }
        builder.generate_pk()
    }

    /// The traces on the host, cached mains committed.
    pub fn proving_ctx(&self, config: &SC) -> ProvingContext<CpuColMajorBackend<SC>> {
        let contexts = self.traces.iter().enumerate().filter_map(|(air_id, trace)| {
            let trace = trace.as_ref()?;
            let cached_mains = trace.cached_mains.iter().map(|main| commit_cached(config, main.clone())).collect();
            let context = AirProvingContext::new(cached_mains, trace.common_main.clone(), trace.public_values.clone());
            Some((air_id, context))
        });
        ProvingContext::new(contexts.collect())
    }
}

/// Commits to a cached main on the host, as its owner would.
pub fn commit_cached(config: &SC, trace: ColMajorMatrix<F>) -> CommittedTraceData<CpuColMajorBackend<SC>> {
    let params = config.params();
    let (commitment, data) =
        stacked_commit(config.hasher(), params.l_skip, params.n_stack, params.log_blowup, params.k_whir(), &[&trace])
            .expect("the trace fits the stacked height");
    CommittedTraceData { commitment, trace, data: Arc::new(data) }
}

/// AIR sets of up to `max_airs` AIRs with up to `2^max_log_height` rows each. Shrinks towards few
/// AIRs that are low, narrow and plain.
pub fn air_sets(max_airs: usize, max_log_height: usize) -> impl Strategy<Value = AirSetShape> {
    small_params(max_log_height).prop_flat_map(move |params| {
        let airs = proptest::collection::vec(air_shape(params.log_stacked_height()), 1..=max_airs);
        airs.prop_map(move |mut airs| {
            if airs.iter().all(|air| !air.present) {
                airs[0].present = true; // upstream refuses a proof of nothing
            }
            let single_rows = |airs: &[AirShape]| airs.iter().all(|air| !air.present || air.log_height == 0);
            if params.l_skip == 0 && single_rows(&airs) {
                airs[0].present = true; // upstream's prover has no variable to bind and panics
                airs[0].log_height = 1;
            }
            AirSetShape { params, airs }
        })
    })
}

fn air_shape(max_log_height: usize) -> impl Strategy<Value = AirShape> {
    let presence = (0..=max_log_height, weighted(0.85), any::<bool>());
    let parts = (prop_oneof![3 => Just(0), 1 => 1..=3usize], prop_oneof![3 => Just(0), 1 => 1..=3usize]);
    let columns = (0..=8usize, 0..=3usize, 0..=5usize, 0..=3usize, 0..=3usize);
    let interactions =
        (prop_oneof![1 => Just(0), 1 => 1..=3usize], prop_oneof![2 => Just(0), 1 => 1..=2usize], any::<bool>());
    let features = (weighted(0.6), weighted(0.6), weighted(0.4));
    let contents = (prop_oneof![4 => 1..=12usize, 1 => 13..=60usize], any::<u64>());
    (presence, parts, columns, interactions, features, contents).prop_map(
        |(presence, parts, columns, interactions, features, contents)| AirShape {
            log_height: presence.0,
            present: presence.1,
            required: presence.2,
            preprocessed: parts.0,
            cached_mains: parts.1,
            free: columns.0,
            bits: columns.1,
            defined: columns.2,
            running: columns.3,
            selected: columns.4,
            lookups: interactions.0,
            self_sends: interactions.1,
            table: interactions.2,
            rotations: features.0,
            selectors: features.1,
            public_values: features.2,
            expression_size: contents.0,
            seed: contents.1,
        },
    )
}
