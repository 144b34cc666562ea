//! Draws a random AIR together with a trace that satisfies it.
//!
//! Columns get their values in an order, and each constraint follows how a column got its values:
//! a free column is random, a defined column equals an expression of earlier columns in every row
//! (`column - expression = 0`), a running column's next row equals an expression of this row
//! (`is_transition * (next - expression) = 0`), and so on. Any DAG is possible, and the trace
//! satisfies it by construction.

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::dense::RowMajorMatrix;
use rand::{rngs::StdRng, seq::SliceRandom, Rng, SeedableRng};

use super::{
    air::{Interaction, Place, RandomAir},
    expr::{Arena, Node, NodeId},
    expressions::Scope,
    AirShape,
};

/// Rows that an AIR offers to lookups of others: they send a row's tuple, it receives it as often.
#[derive(Clone, Debug)]
pub struct Table {
    pub bus: u16,
    pub tuples: Vec<Vec<F>>,
    /// How often each row was sent so far.
    pub multiplicities: Vec<F>,
}

/// An AIR and its columns' values; the columns of `air.places` are numbered through.
#[derive(Debug)]
pub struct Draft {
    pub air: RandomAir,
    pub columns: Vec<Vec<F>>,
    pub public_values: Vec<F>,
    pub table: Option<Table>,
    /// The column that receives `table.multiplicities` once every lookup is known.
    pub multiplicity_column: Option<usize>,
}

/// Draws the AIR of `shape` over at most `max_degree`. Its lookups go to `tables`, which count
/// them if the AIR is present.
pub fn draw(shape: &AirShape, max_degree: usize, tables: &mut [&mut Table]) -> Draft {
    let mut artist = Artist::new(shape, max_degree);
    artist.draw_free_columns();
    for _ in 0..shape.lookups {
        artist.draw_lookup(tables);
    }
    let mut kinds = vec![];
    kinds.extend(vec![Kind::Defined; shape.defined]);
    kinds.extend(vec![Kind::Running; shape.running]);
    kinds.extend(vec![Kind::Selected; shape.selected]);
    kinds.shuffle(&mut artist.rng);
    for kind in kinds {
        match kind {
            Kind::Defined => artist.draw_defined_column(),
            Kind::Running => artist.draw_running_column(),
            Kind::Selected => artist.draw_selected_column(),
        }
    }
    for _ in 0..shape.self_sends {
        artist.draw_self_send();
    }
    if shape.public_values {
        artist.draw_public_output();
    }
    let table = shape.table.then(|| artist.draw_table());
    let nothing_to_prove = artist.constraints.is_empty() && artist.interactions.is_empty();
    if artist.columns.is_empty() || nothing_to_prove {
        artist.draw_defined_column(); // key generation refuses such AIRs
    }
    artist.finish(table)
}

#[derive(Clone, Copy)]
enum Kind {
    Defined,
    Running,
    Selected,
}

/// An AIR in the making: its columns so far, and what constrains them.
pub(super) struct Artist<'a> {
    pub shape: &'a AirShape,
    max_degree: usize,
    pub rng: StdRng,
    pub height: usize,
    pub arena: Arena,
    pub preprocessed: Vec<Vec<F>>,
    pub columns: Vec<Vec<F>>,
    /// Columns that expressions may read: all but multiplicities.
    pub readable: Vec<usize>,
    bits: Vec<usize>,
    pub public_values: Vec<F>,
    constraints: Vec<NodeId>,
    interactions: Vec<Interaction>,
}

impl<'a> Artist<'a> {
    fn new(shape: &'a AirShape, max_degree: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(shape.seed);
        let height = 1 << shape.log_height;
        let mut column = || (0..height).map(|_| rng.random()).collect();
        let preprocessed = (0..shape.preprocessed).map(|_| column()).collect();
        let public_values = match shape.public_values {
            true => (0..rng.random_range(1..=3)).map(|_| rng.random()).collect(),
            false => vec![],
        };
        Self {
            shape,
            max_degree,
            rng,
            height,
            arena: Arena::default(),
            preprocessed,
            columns: vec![],
            readable: vec![],
            bits: vec![],
            public_values,
            constraints: vec![],
            interactions: vec![],
        }
    }

    // ---- columns ----

    fn draw_free_columns(&mut self) {
        for _ in 0..self.shape.free {
            let values = (0..self.height).map(|_| self.rng.random()).collect();
            self.add_column(values);
        }
        if self.max_degree < 2 {
            return;
        }
        for _ in 0..self.shape.bits {
            let values = (0..self.height).map(|_| F::from_bool(self.rng.random())).collect();
            let column = self.add_column(values);
            self.bits.push(column);
            let bit = self.local(column);
            let one = self.arena.push(Node::Constant(F::ONE));
            let other = self.arena.push(Node::Sub(bit, one));
            let constraint = self.arena.push(Node::Mul(bit, other));
            self.constraints.push(constraint);
        }
    }

    /// `column = expression` in every row.
    fn draw_defined_column(&mut self) {
        let expression = self.expression(self.max_degree, self.everything());
        let values = (0..self.height).map(|row| self.value(expression, row)).collect();
        let column = self.add_column(values);
        let column = self.local(column);
        let constraint = self.difference(column, expression);
        self.constraints.push(constraint);
    }

    /// Row 0 is a public value or random, and each next row an expression of this one.
    fn draw_running_column(&mut self) {
        if self.max_degree < 2 || !self.shape.rotations {
            return self.draw_defined_column();
        }
        let column = self.columns.len();
        self.columns.push(vec![]);
        let scope = Scope { unfinished: Some(column), ..self.everything() };
        let expression = self.expression(self.max_degree - 1, scope);
        let initial = match self.public_values.is_empty() {
            true => self.rng.random(),
            false => self.public_values[0],
        };
        self.columns[column].push(initial);
        for row in 0..self.height - 1 {
            let next = self.value(expression, row);
            self.columns[column].push(next);
        }
        self.readable.push(column);

        let next = self.arena.push(Node::Main { column, next: true });
        let step = self.difference(next, expression);
        let when = self.arena.push(Node::IsTransition);
        let constraint = self.arena.push(Node::Mul(when, step));
        self.constraints.push(constraint);
        if !self.public_values.is_empty() {
            self.bind(Node::IsFirstRow, column, 0);
        }
    }

    /// `selector * (column - expression) = 0`: random in the rows that are not selected.
    fn draw_selected_column(&mut self) {
        if self.max_degree < 2 {
            return self.draw_defined_column();
        }
        let selector = match self.bits.choose_index(&mut self.rng) {
            Some(bit) if self.rng.random() => Node::Main { column: bit, next: false },
            _ if !self.shape.selectors => return self.draw_defined_column(),
            _ => [Node::IsFirstRow, Node::IsLastRow, Node::IsTransition][self.rng.random_range(0..3)],
        };
        let selector = self.arena.push(selector);
        let expression = self.expression(self.max_degree - 1, self.everything());
        let values = (0..self.height)
            .map(|row| match self.value(selector, row).is_zero() {
                true => self.rng.random(),
                false => self.value(expression, row),
            })
            .collect();
        let column = self.add_column(values);
        let column = self.local(column);
        let difference = self.difference(column, expression);
        let constraint = self.arena.push(Node::Mul(selector, difference));
        self.constraints.push(constraint);
    }

    /// A new public value is what some column ends with.
    fn draw_public_output(&mut self) {
        let Some(column) = self.readable.choose_index(&mut self.rng) else {
            return;
        };
        if self.max_degree < 2 {
            return;
        }
        self.public_values.push(self.columns[column][self.height - 1]);
        self.bind(Node::IsLastRow, column, self.public_values.len() - 1);
    }

    /// `selector * (column - public value) = 0`
    fn bind(&mut self, selector: Node, column: usize, public: usize) {
        let column = self.local(column);
        let public = self.arena.push(Node::Public(public));
        let difference = self.arena.push(Node::Sub(column, public));
        let selector = self.arena.push(selector);
        let constraint = self.arena.push(Node::Mul(selector, difference));
        self.constraints.push(constraint);
    }

    // ---- interactions ----

    /// Sends a random row of a random table in each row: a field is a column that gets its value
    /// from the table, alone or plus an expression of earlier columns.
    fn draw_lookup(&mut self, tables: &mut [&mut Table]) {
        if tables.is_empty() {
            return;
        }
        let table = self.rng.random_range(0..tables.len());
        let table = &mut *tables[table];
        let picks: Vec<usize> = (0..self.height).map(|_| self.rng.random_range(0..table.tuples.len())).collect();
        let count = self.count();
        let message = (0..table.tuples[0].len())
            .map(|field| {
                let values: Vec<F> = picks.iter().map(|&pick| table.tuples[pick][field]).collect();
                self.field_with_values(values)
            })
            .collect();
        if self.shape.present {
            for (row, &pick) in picks.iter().enumerate() {
                table.multiplicities[pick] += self.value(count, row);
            }
        }
        self.interactions.push(Interaction { bus: table.bus, message, count, count_weight: 1 });
    }

    /// An expression that has the given value in each row, by way of a new column.
    fn field_with_values(&mut self, values: Vec<F>) -> NodeId {
        if self.rng.random() {
            let column = self.add_column(values);
            return self.local(column);
        }
        let offset = self.expression(self.max_degree, self.everything());
        let values = values.iter().enumerate().map(|(row, &v)| v - self.value(offset, row)).collect();
        let column = self.add_column(values);
        let column = self.local(column);
        self.arena.push(Node::Add(column, offset))
    }

    /// Offers the rows' tuples of up to four expressions to later AIRs.
    fn draw_table(&mut self) -> Table {
        let fields = self.rng.random_range(1..=4);
        let message: Vec<NodeId> = (0..fields).map(|_| self.expression(self.max_degree, self.everything())).collect();
        let tuples =
            (0..self.height).map(|row| message.iter().map(|&field| self.value(field, row)).collect()).collect();
        let column = self.columns.len();
        self.columns.push(vec![F::ZERO; self.height]);
        let multiplicity = self.local(column);
        let count = self.arena.push(Node::Neg(multiplicity));
        let bus = self.bus();
        self.interactions.push(Interaction { bus, message, count, count_weight: 0 });
        Table { bus, tuples, multiplicities: vec![F::ZERO; self.height] }
    }

    /// Sends an expression and receives it back: rotated, which cancels over the cycle of the
    /// rows, or, where the AIR reads no next rows, as it is.
    fn draw_self_send(&mut self) {
        let scope = Scope { selectors: self.shape.selectors, ..Scope::default() };
        let scope = if self.shape.rotations { Scope::default() } else { scope };
        let bus = self.bus();
        let fields = self.rng.random_range(1..=5);
        let message: Vec<NodeId> = (0..fields).map(|_| self.expression(self.max_degree, scope)).collect();
        let count = self.expression(self.max_degree, scope);
        let (back, back_count) = match self.shape.rotations {
            true => {
                let back = message.iter().map(|&field| self.arena.rotate(field)).collect();
                (back, self.arena.rotate(count))
            }
            false => (message.clone(), count),
        };
        let back_count = self.arena.push(Node::Neg(back_count));
        self.interactions.push(Interaction { bus, message, count, count_weight: 1 });
        self.interactions.push(Interaction { bus, message: back, count: back_count, count_weight: 1 });
    }

    /// How often a lookup happens: always, in the rows of a bit, or any expression's value.
    fn count(&mut self) -> NodeId {
        match self.rng.random_range(0..3) {
            0 => self.arena.push(Node::Constant(F::ONE)),
            1 => match self.bits.choose_index(&mut self.rng) {
                Some(bit) => self.local(bit),
                None => self.arena.push(Node::Constant(F::TWO)),
            },
            _ => self.expression(self.max_degree, self.everything()),
        }
    }

    /// Few buses, so that some are shared; the largest index is among them.
    fn bus(&mut self) -> u16 {
        [0, 1, 7, u16::MAX][self.rng.random_range(0..4)]
    }

    // ---- bookkeeping ----

    fn add_column(&mut self, values: Vec<F>) -> usize {
        self.columns.push(values);
        self.readable.push(self.columns.len() - 1);
        self.columns.len() - 1
    }

    fn local(&mut self, column: usize) -> NodeId {
        self.arena.push(Node::Main { column, next: false })
    }

    /// `a - b` or `b - a`.
    fn difference(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let node = if self.rng.random() { Node::Sub(a, b) } else { Node::Sub(b, a) };
        self.arena.push(node)
    }

    /// Deals the columns out to the parts, at least one to each.
    fn finish(mut self, table: Option<Table>) -> Draft {
        let width = self.columns.len();
        let parts = self.shape.cached_mains.min(width - 1) + 1;
        let mut order: Vec<usize> = (0..width).collect();
        order.shuffle(&mut self.rng);
        let mut widths = vec![0; parts];
        let mut places = vec![Place { part: 0, column: 0 }; width];
        for (i, &column) in order.iter().enumerate() {
            let part = if i < parts { i } else { self.rng.random_range(0..parts) };
            places[column] = Place { part, column: widths[part] };
            widths[part] += 1;
        }
        let common_width = widths.pop().expect("there is a common main");
        let preprocessed = (!self.preprocessed.is_empty()).then(|| {
            let rows = (0..self.height).flat_map(|row| self.preprocessed.iter().map(move |c| c[row]));
            RowMajorMatrix::new(rows.collect(), self.preprocessed.len())
        });
        Draft {
            air: RandomAir {
                arena: self.arena,
                constraints: self.constraints,
                interactions: self.interactions,
                preprocessed,
                cached_widths: widths,
                common_width,
                places,
                num_public_values: self.public_values.len(),
            },
            // the multiplicities are the last column that was added
            multiplicity_column: table.as_ref().map(|_| width - 1),
            columns: self.columns,
            public_values: self.public_values,
            table,
        }
    }
}

trait ChooseIndex {
    /// A random one of these numbers, if there are any.
    fn choose_index(&self, rng: &mut StdRng) -> Option<usize>;
}

impl ChooseIndex for Vec<usize> {
    fn choose_index(&self, rng: &mut StdRng) -> Option<usize> {
        (!self.is_empty()).then(|| self[rng.random_range(0..self.len())])
    }
}
