//! Constraint programs: an AIR's symbolic DAG as instruction chunks that the device interprets, or
//! that become straight-line WGSL.
//!
//! # Part 1: what is evaluated
//!
//! With `C_k` the constraints of an AIR, and `(c_i, m_{i,0}, m_{i,1}, ..)` on bus `b_i` its interactions,
//!
//! - zerocheck: `acc[0] = sum_k lambda^k * C_k`;
//! - logup, summed (round 0, MLE rounds): `acc[0] = sum_i eq_3b[i] * c_i` and
//!   `acc[1] = sum_i eq_3b[i] * (sum_j beta^j * m_{i,j} + beta^{len_i} * (b_i + 1))`;
//! - logup, emitted (GKR input): for each `i` by itself `c_i` and
//!   `sum_j beta^j * m_{i,j} + beta^{len_i} * (b_i + 1)` (without `alpha`).
//!
//! Column values are in F (cosets of round 0, trace) or in EF (MLE rounds); the powers and `eq_3b` are
//! *weights* in EF, from a table that the stage fills at run time ([`LogupWeights`]; `lambda^k` at `k`
//! for the zerocheck).
//!
//! # Part 2: this implementation
//!
//! [`compile`] lowers the DAG (`graph`), cuts the terms into chunks of about [`MAX_CHUNK_COST`] operations, which recompute what they
//! share, terms that read the same columns together (`chunk`), orders each depth-first and allocates registers (`schedule`). A chunk
//! is the unit of work: its result is a partial sum, so chunks run in parallel where rows are few, and nothing is kept from one to
//! the next. Generated kernels hold one chunk or several.
//! [`encode`] writes the interpreter's instruction stream, [`wgsl`] the generated kernel's body.
//! [`host`] runs a program on the host for tests.

mod chunk;
pub mod encode;
mod graph;
#[doc(hidden)]
pub mod host;
mod program;
mod schedule;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tile;
pub mod wgsl;

pub use chunk::{MAX_CHUNK_COST, MAX_REPETITION, SHORT_CHUNK_COST, SMALL_CHUNK_COST};
pub use program::{BinaryOp, Chunk, Instr, LogupWeights, Operand, Program};
pub use schedule::REGISTER_FILE;
pub use tile::{PartSource, PartWidths, TileColumn, TileLayout};

use openvm_stark_backend::air_builders::symbolic::SymbolicConstraintsDag;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;

use chunk::{Operation, Unit, MAX_SHORT_REPETITION};
use graph::Graph;
use program::Shape;

/// Why a DAG has no program. Keygen makes none of these; a hand-made or damaged key can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Challenge phases do not exist in SWIRL.
    #[error("node {node} reads a challenge, which constraints may not")]
    Challenge {
        /// Node index in the DAG.
        node: usize,
    },
    /// Only the local and the next row are openable.
    #[error("node {node} reads the row at offset {offset}; only 0 and 1 exist")]
    Rotation {
        /// Node index in the DAG.
        node: usize,
        /// The row offset.
        offset: usize,
    },
    /// The next row is read although the key says that no constraint does.
    #[error("node {node} reads the next row, but the key's need_rot is false")]
    UnexpectedRotation {
        /// Node index in the DAG.
        node: usize,
    },
    /// A column beyond its matrix.
    #[error("node {node} reads column {column} of {part:?}, which has {width}")]
    ColumnOutOfRange {
        /// Node index in the DAG.
        node: usize,
        /// The matrix.
        part: PartSource,
        /// The column.
        column: usize,
        /// Number of columns that the matrix has.
        width: usize,
    },
    /// A public value that the AIR does not have.
    #[error("node {node} reads public value {index} of {len}")]
    PublicValueOutOfRange {
        /// Node index in the DAG.
        node: usize,
        /// The public value.
        index: usize,
        /// Number of public values.
        len: usize,
    },
    /// An operand that is not an earlier node.
    #[error("node {operand} is referenced before it is defined ({nodes} nodes)")]
    NotTopological {
        /// The referenced node.
        operand: usize,
        /// Number of nodes defined by then.
        nodes: usize,
    },
}

/// The programs of one AIR. Their columns are abstract ([`TileColumn`]); a [`TileLayout`] places them.
#[derive(Clone, Debug)]
pub struct AirPrograms {
    /// `sum_k lambda^k * C_k`; weight `k` is `lambda^k`. No chunk if the AIR has no constraint.
    pub zerocheck: Program,
    /// Logup in the summed form: weights by [`LogupWeights`]. No chunk without interactions.
    pub logup: Program,
    /// [`Self::zerocheck`] in smaller chunks, for the MLE rounds and for generated kernels.
    pub small_zerocheck: Program,
    /// [`Self::logup`] in smaller chunks, for the MLE rounds and for generated kernels.
    pub small_logup: Program,
    /// [`Self::zerocheck`] in the shortest chunks, for few rows.
    pub short_zerocheck: Program,
    /// [`Self::logup`] in the shortest chunks, for few rows.
    pub short_logup: Program,
    /// Logup in the emitted form: output `i` is interaction `i`; weights by [`LogupWeights`].
    pub interactions: Program,
    /// Layout of the logup weights.
    pub logup_weights: LogupWeights,
    /// Widths that the DAG was checked against.
    pub widths: PartWidths,
}

impl AirPrograms {
    /// Tile of round 0: what zerocheck and logup read.
    pub fn round0_layout(&self) -> TileLayout {
        let zerocheck = self.zerocheck.columns.iter();
        TileLayout::used(zerocheck.chain(&self.logup.columns).copied())
    }

    /// Tile of the GKR input: what the interactions read.
    pub fn gkr_input_layout(&self) -> TileLayout {
        TileLayout::used(self.interactions.columns.iter().copied())
    }

    /// Tile of the MLE rounds: every column.
    pub fn mle_layout(&self) -> TileLayout {
        TileLayout::full(&self.widths)
    }
}

/// Compiles the programs of one AIR.
///
/// `widths` and `num_public_values` are what the DAG is checked against, so that no program can read
/// outside its tile or its constants.
///
/// # Errors
/// See [`ConstraintError`]; anything that upstream's keygen produced compiles.
pub fn compile(
    dag: &SymbolicConstraintsDag<F>,
    widths: &PartWidths,
    num_public_values: usize,
) -> Result<AirPrograms, ConstraintError> {
    let mut graph = Graph::lower(&dag.constraints.nodes, widths, num_public_values)?;
    let logup_weights = LogupWeights::new(dag.interactions.iter().map(|i| i.message.len()));
    let zerocheck = zerocheck_units(&graph, &dag.constraints.constraint_idx)?;
    let (logup, interactions) = logup_units(&mut graph, dag, &logup_weights)?;

    let shape =
        |accumulators, weights, outputs| Shape { accumulators, weights, outputs, max_chunk_cost: MAX_CHUNK_COST };
    let small = |units: &[Unit], shape| {
        let shape = Shape { max_chunk_cost: SMALL_CHUNK_COST, ..shape };
        Program::assemble_bounded(&graph, units, shape, MAX_REPETITION)
    };
    let short = |units: &[Unit], shape| {
        let shape = Shape { max_chunk_cost: SHORT_CHUNK_COST, ..shape };
        Program::assemble_bounded(&graph, units, shape, MAX_SHORT_REPETITION)
    };
    let zerocheck_shape = shape(1, zerocheck.len(), 0);
    let logup_shape = shape(2, logup_weights.len(), 0);
    let interactions_shape = shape(2, logup_weights.len(), dag.interactions.len());
    Ok(AirPrograms {
        zerocheck: Program::assemble(&graph, &zerocheck, zerocheck_shape),
        logup: Program::assemble(&graph, &logup, logup_shape),
        small_zerocheck: small(&zerocheck, zerocheck_shape),
        small_logup: small(&logup, logup_shape),
        short_zerocheck: short(&zerocheck, zerocheck_shape),
        short_logup: short(&logup, logup_shape),
        interactions: Program::assemble(&graph, &interactions, interactions_shape),
        logup_weights,
        widths: widths.clone(),
    })
}

fn zerocheck_units(graph: &Graph, constraints: &[usize]) -> Result<Vec<Unit>, ConstraintError> {
    let unit = |(&idx, weight)| {
        let value = graph.node(idx)?;
        Ok(vec![Operation::Accumulate { acc: 0, weight, value }])
    };
    constraints.iter().zip(0..).map(unit).collect()
}

/// Units of the summed form (each term by itself: a partial sum may end anywhere) and of the emitted
/// form (an interaction stays whole, since it is stored when complete).
fn logup_units(
    graph: &mut Graph,
    dag: &SymbolicConstraintsDag<F>,
    weights: &LogupWeights,
) -> Result<(Vec<Unit>, Vec<Unit>), ConstraintError> {
    let (mut summed, mut emitted) = (Vec::new(), Vec::new());
    for (i, interaction) in dag.interactions.iter().enumerate() {
        let bus = graph.constant_node(F::from_u32(u32::from(interaction.bus_index) + 1));
        let count = graph.node(interaction.count)?;
        let term = |weight, value| Operation::Accumulate { acc: 1, weight, value };
        let mut denominator = vec![term(weights.bus(i), bus)];
        for (j, &field) in interaction.message.iter().enumerate() {
            denominator.push(term(weights.message(i, j), graph.node(field)?));
        }
        summed.push(vec![Operation::Accumulate { acc: 0, weight: weights.count(i), value: count }]);
        summed.extend(denominator.iter().map(|&step| vec![step]));
        denominator.push(Operation::Emit { output: i as u32, numerator: count });
        emitted.push(denominator);
    }
    Ok((summed, emitted))
}
