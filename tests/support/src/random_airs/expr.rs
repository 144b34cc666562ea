//! Expressions of a random AIR: nodes in an arena, so that a node may have many users.

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeCharacteristicRing;

/// Index of a [`Node`] in its [`Arena`]; operands have smaller indices than their users.
pub type NodeId = usize;

/// One node. Main columns are numbered through, whatever part they end up in.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    Constant(F),
    Public(usize),
    Preprocessed { column: usize, next: bool },
    Main { column: usize, next: bool },
    IsFirstRow,
    IsLastRow,
    IsTransition,
    Add(NodeId, NodeId),
    Sub(NodeId, NodeId),
    Neg(NodeId),
    Mul(NodeId, NodeId),
}

/// What one must know of a node to use it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// Degree in the columns and selectors, as key generation counts it.
    pub degree: usize,
    /// Reads the next row.
    pub uses_next: bool,
    /// Depends on a row selector.
    pub uses_selector: bool,
    /// Leaves if nothing were shared: what upstream's evaluation of interactions costs.
    pub tree_size: usize,
}

/// Nodes in topological order.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    nodes: Vec<Node>,
    traits: Vec<Traits>,
}

impl Arena {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn traits(&self, id: NodeId) -> Traits {
        self.traits[id]
    }

    pub fn push(&mut self, node: Node) -> NodeId {
        let leaf = Traits { tree_size: 1, ..Traits::default() };
        let column = |uses_next| Traits { degree: 1, uses_next, ..leaf };
        let join = |a: NodeId, b: NodeId, degree: fn(usize, usize) -> usize| {
            let (a, b) = (self.traits[a], self.traits[b]);
            Traits {
                degree: degree(a.degree, b.degree),
                uses_next: a.uses_next || b.uses_next,
                uses_selector: a.uses_selector || b.uses_selector,
                tree_size: a.tree_size + b.tree_size,
            }
        };
        let traits = match node {
            Node::Constant(_) | Node::Public(_) => leaf,
            Node::Preprocessed { next, .. } | Node::Main { next, .. } => column(next),
            Node::IsFirstRow | Node::IsLastRow | Node::IsTransition => {
                Traits { degree: 1, uses_selector: true, ..leaf }
            }
            Node::Add(a, b) | Node::Sub(a, b) => join(a, b, usize::max),
            Node::Neg(a) => self.traits[a],
            Node::Mul(a, b) => join(a, b, |x, y| x + y),
        };
        self.nodes.push(node);
        self.traits.push(traits);
        self.nodes.len() - 1
    }

    /// The expression with every local column replaced by the next row's. It must read no next row
    /// and no selector.
    pub fn rotate(&mut self, id: NodeId) -> NodeId {
        let traits = self.traits[id];
        assert!(!traits.uses_next && !traits.uses_selector);
        let rotated = match self.nodes[id] {
            Node::Preprocessed { column, .. } => Node::Preprocessed { column, next: true },
            Node::Main { column, .. } => Node::Main { column, next: true },
            Node::Add(a, b) => Node::Add(self.rotate(a), self.rotate(b)),
            Node::Sub(a, b) => Node::Sub(self.rotate(a), self.rotate(b)),
            Node::Neg(a) => Node::Neg(self.rotate(a)),
            Node::Mul(a, b) => Node::Mul(self.rotate(a), self.rotate(b)),
            constant => constant,
        };
        self.push(rotated)
    }

    /// The value of `id`, with `leaf` giving the values of its leaves.
    pub fn evaluate(&self, id: NodeId, leaf: &dyn Fn(Node) -> F) -> F {
        fn go(arena: &Arena, id: NodeId, leaf: &dyn Fn(Node) -> F, known: &mut [Option<F>]) -> F {
            if let Some(value) = known[id] {
                return value;
            }
            let value = match arena.nodes[id] {
                Node::Constant(value) => value,
                Node::Add(a, b) => go(arena, a, leaf, known) + go(arena, b, leaf, known),
                Node::Sub(a, b) => go(arena, a, leaf, known) - go(arena, b, leaf, known),
                Node::Neg(a) => -go(arena, a, leaf, known),
                Node::Mul(a, b) => go(arena, a, leaf, known) * go(arena, b, leaf, known),
                node => leaf(node),
            };
            known[id] = Some(value);
            value
        }
        go(self, id, leaf, &mut vec![None; id + 1])
    }

    /// Every node as an expression of an AIR builder, with `leaf` giving those of the leaves.
    pub fn expressions<E: PrimeCharacteristicRing>(&self, leaf: impl Fn(Node) -> E) -> Vec<E> {
        let mut all: Vec<E> = Vec::with_capacity(self.nodes.len());
        for &node in &self.nodes {
            let expression = match node {
                Node::Add(a, b) => all[a].clone() + all[b].clone(),
                Node::Sub(a, b) => all[a].clone() - all[b].clone(),
                Node::Neg(a) => -all[a].clone(),
                Node::Mul(a, b) => all[a].clone() * all[b].clone(),
                node => leaf(node),
            };
            all.push(expression);
        }
        all
    }
}
