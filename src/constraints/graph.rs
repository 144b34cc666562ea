//! Upstream's symbolic DAG, checked once and reduced to what scheduling needs.

use std::collections::HashMap;

use openvm_stark_backend::air_builders::symbolic::{
    symbolic_variable::{Entry, SymbolicVariable},
    SymbolicExpressionNode,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{
    tile::{PartSource, PartWidths, TileColumn},
    BinaryOp, ConstraintError, Operand,
};

/// Index of a node in [`Graph::nodes`].
pub(super) type NodeId = u32;

#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    /// Costs nothing: read where it is used.
    Leaf(Operand),
    Neg(NodeId),
    Binary(BinaryOp, NodeId, NodeId),
}

impl Node {
    pub(super) fn is_leaf(self) -> bool {
        matches!(self, Self::Leaf(_))
    }

    /// The nodes that this one computes with (twice the same for a square).
    pub(super) fn children(self) -> impl Iterator<Item = NodeId> {
        let (a, b) = match self {
            Self::Leaf(_) => (None, None),
            Self::Neg(a) => (Some(a), None),
            Self::Binary(_, a, b) => (Some(a), Some(b)),
        };
        a.into_iter().chain(b)
    }
}

/// Nodes in topological order, with the tables that their leaves index.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// What [`Operand::Column`] indexes.
    pub(super) columns: Vec<TileColumn>,
    /// What [`Operand::Constant`] indexes.
    pub(super) constants: Vec<F>,
    pub(super) num_public_values: usize,
    /// Registers that a depth-first evaluation of each node as a tree needs (Sethi-Ullman).
    pub(super) need: Vec<u32>,
    constant_index: HashMap<F, u32>,
    column_index: HashMap<TileColumn, u32>,
}

impl Graph {
    /// Checks every node and interns columns and constants. Nodes keep their indices.
    pub(super) fn lower(
        nodes: &[SymbolicExpressionNode<F>],
        widths: &PartWidths,
        num_public_values: usize,
    ) -> Result<Self, ConstraintError> {
        let mut graph = Self {
            nodes: Vec::with_capacity(nodes.len()),
            columns: vec![],
            constants: vec![],
            num_public_values,
            need: Vec::with_capacity(nodes.len()),
            constant_index: HashMap::new(),
            column_index: HashMap::new(),
        };
        for node in nodes {
            let lowered = graph.lower_node(node, widths)?;
            graph.push(lowered);
        }
        Ok(graph)
    }

    /// The node at upstream's index `idx`.
    pub(super) fn node(&self, idx: usize) -> Result<NodeId, ConstraintError> {
        if idx >= self.nodes.len() {
            return Err(ConstraintError::NotTopological { operand: idx, nodes: self.nodes.len() });
        }
        Ok(idx as NodeId)
    }

    /// A new leaf for `value`.
    pub(super) fn constant_node(&mut self, value: F) -> NodeId {
        let leaf = Node::Leaf(self.constant(value));
        self.push(leaf)
    }

    fn push(&mut self, node: Node) -> NodeId {
        let need = |id: NodeId| self.need[id as usize];
        self.need.push(match node {
            Node::Leaf(_) => 0,
            Node::Neg(a) => need(a).max(1),
            Node::Binary(_, a, b) if a != b && need(a) == need(b) => need(a) + 1,
            Node::Binary(_, a, b) => need(a).max(need(b)).max(1),
        });
        self.nodes.push(node);
        (self.nodes.len() - 1) as NodeId
    }

    fn lower_node(&mut self, node: &SymbolicExpressionNode<F>, widths: &PartWidths) -> Result<Node, ConstraintError> {
        use SymbolicExpressionNode as N;
        let mut binary = |op, a: usize, b: usize| {
            let (a, b) = (self.node(a)?, self.node(b)?);
            Ok(self.folded(op, a, b).unwrap_or(Node::Binary(op, a, b)))
        };
        match *node {
            N::Add { left_idx, right_idx, .. } => binary(BinaryOp::Add, left_idx, right_idx),
            N::Sub { left_idx, right_idx, .. } => binary(BinaryOp::Sub, left_idx, right_idx),
            N::Mul { left_idx, right_idx, .. } => binary(BinaryOp::Mul, left_idx, right_idx),
            N::Neg { idx, .. } => {
                let a = self.node(idx)?;
                Ok(match self.constant_value(a) {
                    Some(value) => Node::Leaf(self.constant(-value)),
                    None => Node::Neg(a),
                })
            }
            N::Constant(value) => Ok(Node::Leaf(self.constant(value))),
            N::IsFirstRow => Ok(self.column(TileColumn::IsFirstRow)),
            N::IsTransition => Ok(self.column(TileColumn::IsTransition)),
            N::IsLastRow => Ok(self.column(TileColumn::IsLastRow)),
            N::Variable(var) => self.lower_variable(var, widths),
        }
    }

    /// The result of an operation on two constants. (Keygen folds these already; with it an instruction has at most one constant.)
    fn folded(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> Option<Node> {
        let (a, b) = (self.constant_value(a)?, self.constant_value(b)?);
        let value = match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
        };
        Some(Node::Leaf(self.constant(value)))
    }

    fn constant_value(&self, id: NodeId) -> Option<F> {
        match self.nodes[id as usize] {
            Node::Leaf(Operand::Constant(c)) => Some(self.constants[c as usize]),
            _ => None,
        }
    }

    fn lower_variable(&mut self, var: SymbolicVariable<F>, widths: &PartWidths) -> Result<Node, ConstraintError> {
        let node = self.nodes.len();
        let (source, offset) = match var.entry {
            Entry::Preprocessed { offset } => (PartSource::Preprocessed, offset),
            Entry::Main { part_index, offset } => (PartSource::Main(part_index as u32), offset),
            Entry::Public if var.index < self.num_public_values => {
                return Ok(Node::Leaf(Operand::PublicValue(var.index as u32)));
            }
            Entry::Public => {
                return Err(ConstraintError::PublicValueOutOfRange {
                    node,
                    index: var.index,
                    len: self.num_public_values,
                });
            }
            Entry::Challenge => return Err(ConstraintError::Challenge { node }),
        };
        let width = widths.width(source);
        if var.index >= width {
            return Err(ConstraintError::ColumnOutOfRange { node, part: source, column: var.index, width });
        }
        let rot = match offset {
            0 => false,
            1 if widths.need_rot => true,
            1 => return Err(ConstraintError::UnexpectedRotation { node }),
            _ => return Err(ConstraintError::Rotation { node, offset }),
        };
        let col = var.index as u32;
        Ok(self.column(match source {
            PartSource::Preprocessed => TileColumn::Preprocessed { rot, col },
            PartSource::Main(part) => TileColumn::Main { part, rot, col },
        }))
    }

    fn constant(&mut self, value: F) -> Operand {
        let index = *self.constant_index.entry(value).or_insert_with(|| {
            self.constants.push(value);
            (self.constants.len() - 1) as u32
        });
        Operand::Constant(index)
    }

    fn column(&mut self, column: TileColumn) -> Node {
        let index = *self.column_index.entry(column).or_insert_with(|| {
            self.columns.push(column);
            (self.columns.len() - 1) as u32
        });
        Node::Leaf(Operand::Column(index))
    }
}
