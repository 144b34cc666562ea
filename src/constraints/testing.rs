//! Random and real DAGs with upstream's evaluation of them, for the tests here and of the kernels.

use openvm_stark_backend::{
    air_builders::symbolic::{
        symbolic_expression::SymbolicEvaluator,
        symbolic_variable::{Entry, SymbolicVariable},
        SymbolicConstraints, SymbolicConstraintsDag, SymbolicExpressionDag, SymbolicExpressionNode,
    },
    interaction::Interaction,
    keygen::MultiStarkKeygenBuilder,
    p3_air::{Air, AirBuilder, BaseAir, BaseAirWithPublicValues},
    PartitionedBaseAir,
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config, EF, F},
};
use p3_field::{BasedVectorSpace, ExtensionField, Field, PrimeCharacteristicRing, PrimeField32};
use p3_keccak_air::KeccakAir;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{compile, AirPrograms, LogupWeights, PartWidths, TileColumn};

/// Shape of a random DAG.
#[derive(Clone, Debug)]
pub(crate) struct DagShape {
    pub(crate) widths: PartWidths,
    pub(crate) public_values: usize,
    /// Arithmetic nodes.
    pub(crate) operations: usize,
    /// Operands are drawn from this many last nodes (1 makes chains).
    pub(crate) window: usize,
    pub(crate) constraints: usize,
    pub(crate) interactions: usize,
}

impl DagShape {
    /// Something of everything, small.
    pub(crate) fn small() -> Self {
        Self {
            widths: PartWidths { preprocessed: Some(2), main: vec![1, 3], need_rot: true },
            public_values: 2,
            operations: 60,
            window: 20,
            constraints: 9,
            interactions: 4,
        }
    }

    /// A DAG of this shape.
    pub(crate) fn sample(&self, seed: u64) -> SymbolicConstraintsDag<F> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut nodes = self.leaves(&mut rng);
        let leaves = nodes.len();
        for _ in 0..self.operations {
            let len = nodes.len();
            let mut operand = || match rng.random_range(0..3) {
                0 => rng.random_range(0..leaves),
                _ => rng.random_range(len.saturating_sub(self.window)..len),
            };
            let (left_idx, right_idx) = (operand(), operand());
            let degree_multiple = 1;
            use SymbolicExpressionNode as N;
            nodes.push(match rng.random_range(0..7) {
                0 | 1 => N::Add { left_idx, right_idx, degree_multiple },
                2 | 3 => N::Sub { left_idx, right_idx, degree_multiple },
                4 => N::Neg { idx: left_idx, degree_multiple },
                _ => N::Mul { left_idx, right_idx, degree_multiple },
            });
        }
        let len = nodes.len();
        let interactions = (0..self.interactions)
            .map(|_| Interaction {
                message: (0..rng.random_range(1..5)).map(|_| rng.random_range(0..len)).collect(),
                count: rng.random_range(0..len),
                bus_index: rng.random(),
                count_weight: 1,
            })
            .collect();
        let constraint_idx = (0..self.constraints).map(|_| rng.random_range(0..len)).collect();
        SymbolicConstraintsDag { constraints: SymbolicExpressionDag { nodes, constraint_idx }, interactions }
    }

    fn leaves(&self, rng: &mut StdRng) -> Vec<SymbolicExpressionNode<F>> {
        use SymbolicExpressionNode as N;
        let mut nodes = vec![
            N::IsFirstRow,
            N::IsLastRow,
            N::IsTransition,
            N::Constant(F::ZERO),
            N::Constant(F::ONE),
            N::Constant(F::from_u32(rng.random_range(2..1 << 30))),
        ];
        let variable = |entry, index| N::Variable(SymbolicVariable::new(entry, index));
        for offset in 0..=usize::from(self.widths.need_rot) {
            let preprocessed = 0..self.widths.preprocessed.unwrap_or(0);
            nodes.extend(preprocessed.map(|i| variable(Entry::Preprocessed { offset }, i)));
            for (part_index, &width) in self.widths.main.iter().enumerate() {
                let entry = Entry::Main { part_index, offset };
                nodes.extend((0..width).map(|i| variable(entry, i)));
            }
        }
        nodes.extend((0..self.public_values).map(|i| variable(Entry::Public, i)));
        nodes
    }
}

/// A constraint (also the count of an interaction) that needs at least `live` registers in any order that computes each node
/// once: a chain of `live` products, of which the first and the last are multiplied, then the second and the one before, ...
/// each only after the whole chain.
pub(crate) fn many_live_values(live: usize) -> SymbolicConstraintsDag<F> {
    use SymbolicExpressionNode as N;
    let degree_multiple = 1;
    let variable = |part_index, index| N::Variable(SymbolicVariable::new(Entry::Main { part_index, offset: 0 }, index));
    let mul = |left_idx, right_idx| N::Mul { left_idx, right_idx, degree_multiple };
    let mut nodes = vec![variable(0, 0), variable(1, 1)];
    let chain: Vec<usize> = (0..live)
        .map(|i| {
            nodes.push(mul(if i == 0 { 0 } else { nodes.len() - 1 }, i % 2));
            nodes.len() - 1
        })
        .collect();
    // every sum starts from the end of the chain, so all of the chain is live when it begins
    let mut total = chain[live - 1];
    for &link in &chain {
        nodes.push(mul(total, link));
        total = nodes.len() - 1;
    }
    let interaction = Interaction { message: vec![1, 0], count: total, bus_index: 3, count_weight: 1 };
    SymbolicConstraintsDag {
        constraints: SymbolicExpressionDag { nodes, constraint_idx: vec![total] },
        interactions: vec![interaction],
    }
}

/// A row with its challenges, random.
pub(crate) struct TestRow<V> {
    values: std::collections::HashMap<TileColumn, V>,
    pub(crate) public_values: Vec<F>,
}

impl<V: ExtensionField<F>> TestRow<V> {
    pub(crate) fn new(columns: &[TileColumn], values: &[V], public_values: &[F]) -> Self {
        Self {
            values: columns.iter().copied().zip(values.iter().copied()).collect(),
            public_values: public_values.to_vec(),
        }
    }

    pub(crate) fn column(&self, column: TileColumn) -> V {
        self.values[&column]
    }
}

impl<V: ExtensionField<F>> SymbolicEvaluator<F, V> for TestRow<V> {
    fn eval_const(&self, c: F) -> V {
        c.into()
    }

    fn eval_var(&self, var: SymbolicVariable<F>) -> V {
        let col = var.index as u32;
        match var.entry {
            Entry::Preprocessed { offset } => {
                let rot = offset == 1;
                self.column(TileColumn::Preprocessed { rot, col })
            }
            Entry::Main { part_index, offset } => {
                let (part, rot) = (part_index as u32, offset == 1);
                self.column(TileColumn::Main { part, rot, col })
            }
            Entry::Public => self.public_values[var.index].into(),
            Entry::Challenge => unreachable!("no challenges"),
        }
    }

    fn eval_is_first_row(&self) -> V {
        self.column(TileColumn::IsFirstRow)
    }

    fn eval_is_last_row(&self) -> V {
        self.column(TileColumn::IsLastRow)
    }

    fn eval_is_transition(&self) -> V {
        self.column(TileColumn::IsTransition)
    }
}

/// Challenges of the batching, as upstream draws them.
pub(crate) struct TestChallenges {
    pub(crate) lambda: EF,
    pub(crate) beta: EF,
    pub(crate) eq_3b: Vec<EF>,
}

impl TestChallenges {
    pub(crate) fn sample(rng: &mut impl Rng, num_interactions: usize) -> Self {
        Self {
            lambda: random_ext(rng),
            beta: random_ext(rng),
            eq_3b: (0..num_interactions).map(|_| random_ext(rng)).collect(),
        }
    }

    pub(crate) fn zerocheck_weights(&self, len: usize) -> Vec<EF> {
        self.lambda.powers().take(len).collect()
    }

    /// Weights of the summed form.
    pub(crate) fn logup_weights(&self, layout: &LogupWeights) -> Vec<EF> {
        let weight = |&[i, e]: &[u32; 2]| self.eq_3b[i as usize] * self.beta.exp_u64(e.into());
        layout.entries().iter().map(weight).collect()
    }

    /// Weights of the emitted form.
    pub(crate) fn interaction_weights(&self, layout: &LogupWeights) -> Vec<EF> {
        let weight = |&[_, e]: &[u32; 2]| self.beta.exp_u64(e.into());
        layout.entries().iter().map(weight).collect()
    }
}

/// `sum_k lambda^k * C_k` by upstream's node-by-node evaluation.
pub(crate) fn upstream_zerocheck<V>(dag: &SymbolicConstraintsDag<F>, row: &TestRow<V>, lambda: EF) -> EF
where
    V: ExtensionField<F>,
    EF: ExtensionField<V>,
{
    let nodes = row.eval_nodes(&dag.constraints.nodes);
    let constraints = dag.constraints.constraint_idx.iter();
    let terms = constraints.zip(lambda.powers()).map(|(&k, pow)| pow * nodes[k]);
    terms.sum()
}

/// `(count, denominator without alpha)` by interaction, as upstream's `eval_interactions`.
pub(crate) fn upstream_interactions<V>(dag: &SymbolicConstraintsDag<F>, row: &TestRow<V>, beta: EF) -> Vec<(V, EF)>
where
    V: ExtensionField<F>,
    EF: ExtensionField<V> + ExtensionField<F>,
{
    let symbolic = SymbolicConstraints::from(dag);
    let fraction = |interaction: &Interaction<_>| {
        let bus: EF = F::from_u32(u32::from(interaction.bus_index) + 1).into();
        let fields = interaction.message.iter().map(|m| row.eval_expr(m));
        let message: EF = fields.zip(beta.powers()).map(|(m, pow)| pow * m).sum();
        let bus_weight = beta.exp_u64(interaction.message.len() as u64);
        (row.eval_expr(&interaction.count), message + bus_weight * bus)
    };
    symbolic.interactions.iter().map(fraction).collect()
}

pub(crate) fn random_base(rng: &mut impl Rng) -> F {
    F::from_u32(rng.random_range(0..F::ORDER_U32))
}

pub(crate) fn random_ext(rng: &mut impl Rng) -> EF {
    EF::from_basis_coefficients_fn(|_| random_base(rng))
}

/// Keccak-f as upstream's keygen sees it.
struct TestKeccak(KeccakAir);

impl<T> BaseAir<T> for TestKeccak {
    fn width(&self) -> usize {
        BaseAir::<T>::width(&self.0)
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for TestKeccak {}
impl<T: Field> PartitionedBaseAir<T> for TestKeccak {}
impl<AB: AirBuilder> Air<AB> for TestKeccak {
    fn eval(&self, builder: &mut AB) {
        self.0.eval(builder);
    }
}

/// The keccak-f DAG of upstream's keygen, and its programs.
pub(crate) fn keccak() -> (SymbolicConstraintsDag<F>, AirPrograms) {
    let params = app_params_with_100_bits_security(21);
    let config = BabyBearPoseidon2Config::default_from_params(params);
    let mut keygen = MultiStarkKeygenBuilder::new(config);
    keygen.add_air(std::sync::Arc::new(TestKeccak(KeccakAir {})));
    let pk = keygen.generate_pk().expect("keccak has a key");
    let vk = &pk.per_air[0].vk;
    let widths = PartWidths::from(&vk.params);
    let programs = compile(&vk.symbolic_constraints, &widths, 0).expect("keygen's DAG compiles");
    (vk.symbolic_constraints.clone(), programs)
}
