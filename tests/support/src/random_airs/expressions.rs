//! Random expressions, and their values in a row.

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;
use rand::Rng;

use super::{
    draft::Artist,
    expr::{Node, NodeId},
};

/// Larger expressions are not shared: sharing what shares grows exponentially as a tree, and
/// upstream evaluates interactions as trees.
const MAX_SHARED_TREE: usize = 100;

/// What a random expression may read besides the columns that have values in every row.
#[derive(Clone, Copy, Default)]
pub(super) struct Scope {
    /// A column with a value in this row and not in the next.
    pub unfinished: Option<usize>,
    pub next_rows: bool,
    pub selectors: bool,
}

impl Artist<'_> {
    pub(super) fn everything(&self) -> Scope {
        Scope { unfinished: None, next_rows: self.shape.rotations, selectors: self.shape.selectors }
    }

    /// A random expression of at most `degree`.
    pub(super) fn expression(&mut self, degree: usize, scope: Scope) -> NodeId {
        let size = self.rng.random_range(1..=self.shape.expression_size.max(1));
        let reusable = self.arena.len();
        self.sub_expression(degree, size, scope, reusable)
    }

    /// About `size` operations. Nodes below `reusable` may be shared: they read no unfinished
    /// column.
    fn sub_expression(&mut self, degree: usize, size: usize, scope: Scope, reusable: usize) -> NodeId {
        if size <= 1 {
            return self.leaf(degree, scope);
        }
        if reusable > 0 && self.rng.random_bool(0.15) {
            let id = self.rng.random_range(0..reusable);
            let its = self.arena.traits(id);
            let fits = its.degree <= degree && its.tree_size <= MAX_SHARED_TREE;
            let in_scope = (scope.next_rows || !its.uses_next) && (scope.selectors || !its.uses_selector);
            if fits && in_scope {
                return id;
            }
        }
        let left_size = self.rng.random_range(1..size);
        let operand = |this: &mut Self, degree, size| this.sub_expression(degree, size, scope, reusable);
        match self.rng.random_range(0..8) {
            0 => {
                let a = operand(self, degree, size - 1);
                self.arena.push(Node::Neg(a))
            }
            1 => {
                let (a, b) = (self.leaf(0, scope), operand(self, degree, size - 1));
                self.arena.push(Node::Mul(a, b))
            }
            2..=4 if degree >= 2 => {
                let left_degree = self.rng.random_range(1..degree);
                let a = operand(self, left_degree, left_size);
                let b = operand(self, degree - left_degree, size - left_size);
                self.arena.push(Node::Mul(a, b))
            }
            2..=5 => {
                let a = operand(self, degree, left_size);
                let b = operand(self, degree, size - left_size);
                self.arena.push(Node::Add(a, b))
            }
            _ => {
                let a = operand(self, degree, left_size);
                let b = operand(self, degree, size - left_size);
                self.arena.push(Node::Sub(a, b))
            }
        }
    }

    /// A constant or public value, or, where `degree` allows, a column or selector.
    fn leaf(&mut self, degree: usize, scope: Scope) -> NodeId {
        let public = self.public_values.len();
        let mains = self.readable.len() + usize::from(scope.unfinished.is_some());
        let mut kinds = vec![0];
        kinds.extend((public > 0).then_some(1));
        if degree > 0 {
            kinds.extend((!self.preprocessed.is_empty()).then_some(2));
            kinds.extend((mains > 0).then_some([3; 6]).into_iter().flatten());
            kinds.extend(scope.selectors.then_some(4));
        }
        let next = scope.next_rows && self.rng.random_bool(0.3);
        let node = match kinds[self.rng.random_range(0..kinds.len())] {
            0 => Node::Constant(match self.rng.random_range(0..4) {
                0 => F::ONE,
                1 => F::from_u32(self.rng.random_range(2..10)),
                _ => self.rng.random(),
            }),
            1 => Node::Public(self.rng.random_range(0..public)),
            2 => {
                let column = self.rng.random_range(0..self.preprocessed.len());
                Node::Preprocessed { column, next }
            }
            3 => match self.rng.random_range(0..mains) {
                i if i < self.readable.len() => Node::Main { column: self.readable[i], next },
                _ => {
                    let column = scope.unfinished.expect("counted among the mains");
                    Node::Main { column, next: false }
                }
            },
            _ => [Node::IsFirstRow, Node::IsLastRow, Node::IsTransition][self.rng.random_range(0..3)],
        };
        self.arena.push(node)
    }

    /// The value of `id` in `row`; the row after the last is the first.
    pub(super) fn value(&self, id: NodeId, row: usize) -> F {
        let at = |column: &[F], next: bool| column[(row + usize::from(next)) % self.height];
        self.arena.evaluate(id, &|leaf| match leaf {
            Node::Public(index) => self.public_values[index],
            Node::Preprocessed { column, next } => at(&self.preprocessed[column], next),
            Node::Main { column, next } => at(&self.columns[column], next),
            Node::IsFirstRow => F::from_bool(row == 0),
            Node::IsLastRow => F::from_bool(row == self.height - 1),
            Node::IsTransition => F::from_bool(row != self.height - 1),
            _ => unreachable!("not a leaf: {leaf:?}"),
        })
    }
}
