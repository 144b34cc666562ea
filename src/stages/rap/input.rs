//! What the stage reads: the AIRs that are present, their traces, and the shapes that follow.

use openvm_stark_backend::{
    air_builders::symbolic::{SymbolicConstraintsDag, SymbolicExpressionNode},
    calculate_n_logup,
    keygen::types::StarkVerifyingKey,
    prover::stacked_pcs::StackedLayout,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};

use crate::{
    constraints::PartSource,
    error::{Error, Result},
    gpu::DeviceMatrix,
    kernels::{constraints::AirEvaluator, pack::PackedTrace, rap::TracePart},
};

/// Log of the number of leaves of the fraction tree beyond which positions no longer fit 32 bits.
const MAX_LOG_LEAVES: usize = 31;

/// One AIR that is present, with its traces.
pub struct AirInput<'a> {
    /// Its programs.
    pub evaluator: &'a AirEvaluator,
    /// The preprocessed trace, if the AIR has one.
    pub preprocessed: Option<&'a DeviceMatrix<F>>,
    /// The cached mains in order, then the common main.
    pub mains: Vec<&'a DeviceMatrix<F>>,
    /// Where the common main's cells lie with others', if they do.
    pub packed: Option<&'a PackedTrace>,
    /// Its public values.
    pub public_values: &'a [F],
    /// log2 of the traces' height.
    pub log_height: usize,
    /// Cosets of the skip domain on which the constraints' quotient by the zerofier is determined; 0 when it is zero.
    pub zerocheck_cosets: usize,
    /// Cosets on which the interactions' sums are determined; 0 when there are none.
    pub logup_cosets: usize,
}

/// The traces of one AIR as the proving context holds them.
pub struct AirTraces<'a> {
    /// The preprocessed trace, if the AIR has one.
    pub preprocessed: Option<&'a DeviceMatrix<F>>,
    /// The cached mains in order.
    pub cached: Vec<&'a DeviceMatrix<F>>,
    /// The common main.
    pub common: &'a DeviceMatrix<F>,
    /// Where its cells lie with others', if they do.
    pub packed: Option<&'a PackedTrace>,
    /// The public values.
    pub public_values: &'a [F],
}

impl<'a> AirInput<'a> {
    /// Takes traces that have been checked against the key: all of one height, a power of two, and of the key's widths.
    pub fn new(vk: &StarkVerifyingKey<F, Digest>, evaluator: &'a AirEvaluator, traces: AirTraces<'a>) -> Self {
        let height = traces.common.height();
        let mut mains = traces.cached;
        mains.push(traces.common);
        debug_assert_eq!(
            traces.preprocessed.iter().chain(&mains).map(|m| (m.height(), m.width())).collect::<Vec<_>>(),
            evaluator.widths().parts().map(|(_, width)| (height, width)).collect::<Vec<_>>(),
            "heights and widths of an AIR's traces"
        );
        let (zerocheck_cosets, logup_cosets) = cosets(&vk.symbolic_constraints, vk.max_constraint_degree);
        Self {
            evaluator,
            preprocessed: traces.preprocessed,
            mains,
            packed: traces.packed,
            public_values: traces.public_values,
            log_height: height.ilog2() as usize,
            zerocheck_cosets,
            logup_cosets,
        }
    }

    /// The matrix of a part.
    ///
    /// # Panics
    ///
    /// When the AIR has none, which its programs were checked for.
    pub fn part(&self, part: PartSource) -> TracePart<'a> {
        match part {
            PartSource::Preprocessed => self.preprocessed.expect("the AIR has a preprocessed trace").into(),
            PartSource::Main(part) => {
                let (matrix, is_common) = (self.mains[part as usize], part as usize + 1 == self.mains.len());
                TracePart { matrix, packed: self.packed.filter(|_| is_common) }
            }
        }
    }

    /// Rows of the traces.
    pub fn height(&self) -> usize {
        1 << self.log_height
    }

    /// Cosets of the skip domain that round 0 evaluates on.
    pub fn cosets(&self) -> usize {
        self.zerocheck_cosets.max(self.logup_cosets)
    }
}

/// Cosets that determine the zerocheck's quotient and logup's sums, from the degrees that occur.
///
/// With N = 2^l_skip a value of degree d has degree d (N - 1) in Z, so d cosets of N points determine it. The constraints' sum vanishes on
/// D, and its quotient by the zerofier, of degree d (N - 1) - N, is determined by d - 1 cosets (zero for d <= 1). The polynomials are
/// upstream's, which takes the key's largest degree for both.
fn cosets(dag: &SymbolicConstraintsDag<F>, max_degree: u8) -> (usize, usize) {
    if max_degree == 0 {
        return (0, 0);
    }
    let degree = |index: &usize| match &dag.constraints.nodes[*index] {
        SymbolicExpressionNode::Variable(variable) => variable.degree_multiple(),
        SymbolicExpressionNode::IsFirstRow
        | SymbolicExpressionNode::IsLastRow
        | SymbolicExpressionNode::IsTransition => 1,
        SymbolicExpressionNode::Constant(_) => 0,
        SymbolicExpressionNode::Add { degree_multiple, .. }
        | SymbolicExpressionNode::Sub { degree_multiple, .. }
        | SymbolicExpressionNode::Neg { degree_multiple, .. }
        | SymbolicExpressionNode::Mul { degree_multiple, .. } => *degree_multiple,
    };
    let constraints = dag.constraints.constraint_idx.iter().map(degree).max().unwrap_or(0);
    let values = dag.interactions.iter().flat_map(|i| i.message.iter().chain([&i.count]));
    let interactions = values.map(degree).max().map_or(0, |degree| degree.max(1));
    (constraints.saturating_sub(1), interactions)
}

/// All AIRs that are present, by descending height, and the shapes of the sumcheck.
pub struct RapInput<'a> {
    /// The AIRs.
    pub airs: Vec<AirInput<'a>>,
    /// log2 of the size of the skip domain D.
    pub l_skip: usize,
    /// Largest degree of constraints and interactions over all AIRs of the key.
    pub max_constraint_degree: usize,
    /// Bits of proof of work before the logup challenges.
    pub logup_pow_bits: usize,
    /// Variables of the hypercube of the highest trace.
    pub n_max: usize,
    /// Variables of the hypercube of the interactions.
    pub n_logup: usize,
    /// For each AIR the position of each interaction's first leaf in the fraction tree.
    pub leaf_offsets: Vec<Vec<u32>>,
    /// Leaves that interactions fill.
    pub num_leaves: usize,
}

/// The protocol's parameters that the stage depends on.
#[derive(Clone, Copy, Debug)]
pub struct RapParams {
    /// log2 of the size of the skip domain D.
    pub l_skip: usize,
    /// Largest degree of constraints and interactions over all AIRs of the key.
    pub max_constraint_degree: usize,
    /// Bits of proof of work before the logup challenges.
    pub logup_pow_bits: usize,
}

impl<'a> RapInput<'a> {
    /// Derives the shapes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when the AIRs are not sorted by descending height, or leave nothing to sum over; [`Error::Unsupported`]
    /// for too many interactions.
    pub fn new(params: RapParams, airs: Vec<AirInput<'a>>) -> Result<Self> {
        let RapParams { l_skip, max_constraint_degree, logup_pow_bits } = params;
        let highest = airs.first().expect("a proof has at least one AIR");
        if !airs.is_sorted_by(|a, b| a.log_height >= b.log_height) {
            return Err(Error::InvalidInput("traces must be sorted by descending height".into()));
        }
        let n_max = highest.log_height.saturating_sub(l_skip);
        let shapes: Vec<_> =
            airs.iter().map(|air| (air.evaluator.num_interactions(), air.log_height.max(l_skip))).collect();
        let num_leaves: u64 = shapes.iter().map(|(count, log)| (*count as u64) << log).sum();
        let n_logup = calculate_n_logup(l_skip, num_leaves);
        if l_skip + n_logup > MAX_LOG_LEAVES {
            let message = format!("{num_leaves} interactions over all rows, at most 2^{MAX_LOG_LEAVES}");
            return Err(Error::Unsupported(message));
        }
        // upstream's prover panics
        if l_skip + n_max.max(n_logup) == 0 {
            let message = "traces of one row without interactions leave no variable to sum over when l_skip is 0";
            return Err(Error::InvalidInput(message.into()));
        }
        if max_constraint_degree == 0 && n_max > 0 {
            return Err(Error::InvalidInput("no AIR of the proving key has a constraint or an interaction".into()));
        }
        let layout = StackedLayout::new(0, l_skip + n_logup, shapes)
            .map_err(|error| Error::InvalidInput(format!("interactions: {error}")))?;
        let mut leaf_offsets = vec![vec![]; airs.len()];
        for (air, _, slice) in &layout.sorted_cols {
            leaf_offsets[*air].push(slice.row_idx as u32);
        }
        let num_leaves = num_leaves as usize;
        Ok(Self { airs, l_skip, max_constraint_degree, logup_pow_bits, n_max, n_logup, leaf_offsets, num_leaves })
    }

    /// Variables of an AIR's lifted hypercube.
    pub fn n_lift(&self, air: &AirInput<'_>) -> usize {
        air.log_height.saturating_sub(self.l_skip)
    }

    /// log2 of how often the traces of an AIR are repeated to fill the skip domain.
    pub fn log_lift(&self, air: &AirInput<'_>) -> usize {
        self.l_skip.saturating_sub(air.log_height)
    }

    /// Variables of the sumcheck over all AIRs and interactions.
    pub fn n_global(&self) -> usize {
        self.n_max.max(self.n_logup)
    }
}
