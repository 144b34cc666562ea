//! A random AIR, as upstream's key generation sees it.

use openvm_stark_backend::{air_builders::PartitionedAirBuilder, interaction::InteractionBuilder, PartitionedBaseAir};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_air::{Air, AirBuilderWithPublicValues, BaseAir, BaseAirWithPublicValues, PairBuilder};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use p3_matrix::{dense::RowMajorMatrix, Matrix};

use super::expr::{Arena, Node, NodeId};

/// `count` times `message` onto `bus`.
#[derive(Clone, Debug)]
pub struct Interaction {
    pub bus: u16,
    pub message: Vec<NodeId>,
    pub count: NodeId,
    pub count_weight: u32,
}

/// Where a main column lies: the common main is the part after the cached ones.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub part: usize,
    pub column: usize,
}

/// Constraints and interactions over one arena of expressions.
#[derive(Clone, Debug)]
pub struct RandomAir {
    pub arena: Arena,
    pub constraints: Vec<NodeId>,
    pub interactions: Vec<Interaction>,
    pub preprocessed: Option<RowMajorMatrix<F>>,
    /// Widths of the cached mains, in order.
    pub cached_widths: Vec<usize>,
    pub common_width: usize,
    /// `places[column]` of each main column that the arena names.
    pub places: Vec<Place>,
    pub num_public_values: usize,
}

impl BaseAir<F> for RandomAir {
    fn width(&self) -> usize {
        self.cached_widths.iter().sum::<usize>() + self.common_width
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<F>> {
        self.preprocessed.clone()
    }
}

impl BaseAirWithPublicValues<F> for RandomAir {
    fn num_public_values(&self) -> usize {
        self.num_public_values
    }
}

impl PartitionedBaseAir<F> for RandomAir {
    fn cached_main_widths(&self) -> Vec<usize> {
        self.cached_widths.clone()
    }

    fn common_main_width(&self) -> usize {
        self.common_width
    }
}

impl<AB> Air<AB> for RandomAir
where
    AB: PartitionedAirBuilder<F = F> + PairBuilder + AirBuilderWithPublicValues + InteractionBuilder,
    Self: BaseAir<AB::F>,
{
    fn eval(&self, builder: &mut AB) {
        let rows = |matrix: &AB::M| [0, 1].map(|row| matrix.row_slice(row).unwrap().to_vec());
        let preprocessed = self.preprocessed.as_ref().map(|_| rows(&builder.preprocessed()));
        let mut mains: Vec<[Vec<AB::Var>; 2]> = builder.cached_mains().iter().map(rows).collect();
        mains.push(rows(builder.common_main()));
        let public_values: Vec<AB::Expr> = builder.public_values().iter().map(|&value| value.into()).collect();

        let expressions = self.arena.expressions::<AB::Expr>(|leaf| match leaf {
            Node::Constant(value) => AB::Expr::from_u32(value.as_canonical_u32()),
            Node::Public(index) => public_values[index].clone(),
            Node::Preprocessed { column, next } => {
                let rows = preprocessed.as_ref().expect("has a preprocessed trace");
                rows[usize::from(next)][column].into()
            }
            Node::Main { column, next } => {
                let Place { part, column } = self.places[column];
                mains[part][usize::from(next)][column].into()
            }
            Node::IsFirstRow => builder.is_first_row(),
            Node::IsLastRow => builder.is_last_row(),
            Node::IsTransition => builder.is_transition(),
            _ => unreachable!("not a leaf: {leaf:?}"),
        });
        for &constraint in &self.constraints {
            builder.assert_zero(expressions[constraint].clone());
        }
        for interaction in &self.interactions {
            builder.push_interaction(
                interaction.bus,
                interaction.message.iter().map(|&id| expressions[id].clone()),
                expressions[interaction.count].clone(),
                interaction.count_weight,
            );
        }
    }
}
