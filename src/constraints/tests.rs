//! Programs against upstream's evaluation of the same DAG.

use openvm_stark_backend::air_builders::symbolic::{
    symbolic_variable::{Entry, SymbolicVariable},
    SymbolicConstraintsDag, SymbolicExpressionDag, SymbolicExpressionNode as Node,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{ExtensionField, PrimeCharacteristicRing};
use proptest::prelude::*;
use rand::{rngs::StdRng, SeedableRng};

use super::{encode::EncodedProgram, host::RowTables, testing::*, *};

/// Compiles `dag` and compares the three programs with upstream on one random row over `V`.
fn check_row<V>(
    dag: &SymbolicConstraintsDag<F>,
    programs: &AirPrograms,
    public_values: usize,
    sample: impl Fn(&mut StdRng) -> V,
) where
    V: ExtensionField<F>,
    EF: ExtensionField<V>,
{
    let mut rng = StdRng::seed_from_u64(7);
    let layout = programs.mle_layout();
    let values: Vec<V> = layout.columns().iter().map(|_| sample(&mut rng)).collect();
    let public_values: Vec<F> = (0..public_values).map(|_| random_base(&mut rng)).collect();
    let row = TestRow::new(layout.columns(), &values, &public_values);
    let challenges = TestChallenges::sample(&mut rng, dag.interactions.len());
    let eval = |program: &Program, weights: &[EF]| {
        let tables = RowTables { public_values: &public_values, weights };
        program.eval_row(|column| row.column(column), tables)
    };

    let weights = challenges.zerocheck_weights(programs.zerocheck.num_weights);
    let expected = upstream_zerocheck(dag, &row, challenges.lambda);
    for program in [&programs.zerocheck, &programs.small_zerocheck, &programs.short_zerocheck] {
        assert_eq!(eval(program, &weights).acc, [expected, EF::ZERO]);
    }

    let fractions = upstream_interactions(dag, &row, challenges.beta);
    let mut expected = [EF::ZERO; 2];
    for (&(p, q), &eq) in fractions.iter().zip(&challenges.eq_3b) {
        expected[0] += eq * p;
        expected[1] += eq * q;
    }
    let weights = challenges.logup_weights(&programs.logup_weights);
    for program in [&programs.logup, &programs.small_logup, &programs.short_logup] {
        assert_eq!(eval(program, &weights).acc, expected);
    }

    let weights = challenges.interaction_weights(&programs.logup_weights);
    let emitted = eval(&programs.interactions, &weights);
    assert_eq!(emitted.outputs, fractions);
}

fn check_dag(dag: &SymbolicConstraintsDag<F>, widths: &PartWidths, public_values: usize) {
    let programs = compile(dag, widths, public_values).expect("valid DAG");
    check_row(dag, &programs, public_values, random_base);
    check_row(dag, &programs, public_values, random_ext);
    for program in [&programs.zerocheck, &programs.logup, &programs.interactions] {
        check_structure(program);
    }
}

/// That encoding and text cover every instruction.
fn check_structure(program: &Program) {
    let layout = TileLayout::used(program.columns.iter().copied());
    for extension in [false, true] {
        let encoded = EncodedProgram::new(program, &layout, extension);
        let records = |chunk: &Chunk| chunk.instrs.len() + chunk.public_values.len();
        let instrs: usize = program.chunks.iter().map(records).sum();
        assert_eq!(encoded.records.len(), 2 * program.chunks.len() + instrs + program.num_outputs);
        for chunk in &program.chunks {
            let body = wgsl::chunk_body(program, chunk, &layout, extension);
            let folds = body.lines().filter(|line| line.trim_start().starts_with("fold")).count();
            assert_eq!(body.lines().count() - folds, chunk.instrs.len());
        }
    }
}

fn shapes() -> impl Strategy<Value = DagShape> {
    let widths = (proptest::option::of(1usize..4), proptest::collection::vec(0usize..5, 1..4), any::<bool>());
    let widths = widths.prop_map(|(preprocessed, main, need_rot)| PartWidths { preprocessed, main, need_rot });
    (widths, 0usize..3, 0usize..3000, 1usize..400, 0usize..40, 0usize..10).prop_map(
        |(widths, public_values, operations, window, constraints, interactions)| DagShape {
            widths,
            public_values,
            operations,
            window,
            constraints,
            interactions,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_dags_equal_upstream(shape in shapes(), seed: u64) {
        // Interactions are evaluated by upstream as trees, which doubles along shared chains.
        let shallow = DagShape { interactions: 0, ..shape.clone() };
        check_dag(&shallow.sample(seed), &shape.widths, shape.public_values);
        let tree = DagShape { operations: shape.operations % 25, ..shape };
        check_dag(&tree.sample(seed), &tree.widths, tree.public_values);
    }
}

const fn column(index: usize) -> Node<F> {
    Node::Variable(SymbolicVariable::new(Entry::Main { part_index: 0, offset: 0 }, index))
}

const fn binary(op: BinaryOp, left_idx: usize, right_idx: usize) -> Node<F> {
    let degree_multiple = 1;
    match op {
        BinaryOp::Add => Node::Add { left_idx, right_idx, degree_multiple },
        BinaryOp::Sub => Node::Sub { left_idx, right_idx, degree_multiple },
        BinaryOp::Mul => Node::Mul { left_idx, right_idx, degree_multiple },
    }
}

fn constraints(nodes: Vec<Node<F>>, constraint_idx: Vec<usize>) -> SymbolicConstraintsDag<F> {
    SymbolicConstraintsDag { constraints: SymbolicExpressionDag { nodes, constraint_idx }, interactions: vec![] }
}

fn main_width(width: usize) -> PartWidths {
    PartWidths { preprocessed: None, main: vec![width], need_rot: false }
}

#[test]
fn degenerate_terms() {
    // A constant, a bare column, the same node twice as a constraint, a negated column.
    let neg = Node::Neg { idx: 1, degree_multiple: 1 };
    let nodes = vec![Node::Constant(F::TWO), column(0), neg];
    check_dag(&constraints(nodes, vec![0, 1, 1, 2]), &main_width(1), 0);
}

#[test]
fn nothing_to_evaluate() {
    let dag = constraints(vec![column(0)], vec![]);
    let programs = compile(&dag, &main_width(1), 0).expect("valid");
    assert!(programs.zerocheck.is_empty() && programs.logup.is_empty());
    assert!(programs.interactions.is_empty() && programs.logup_weights.is_empty());
    assert_eq!(programs.round0_layout().num_columns(), 0);
    check_dag(&dag, &main_width(1), 0);
}

#[test]
fn a_constraint_shared_with_interactions() {
    let shape = DagShape::small();
    let mut dag = shape.sample(3);
    let shared = dag.constraints.nodes.len() - 1;
    dag.constraints.constraint_idx = vec![shared];
    for interaction in &mut dag.interactions {
        interaction.count = shared;
        interaction.message = vec![shared, 0, shared];
    }
    check_dag(&dag, &shape.widths, shape.public_values);
}

#[test]
fn a_deep_chain_needs_few_registers() {
    let chain = |len: usize| {
        let mut nodes = vec![column(0), column(1)];
        for i in 0..len {
            let op = [BinaryOp::Mul, BinaryOp::Add, BinaryOp::Sub][i % 3];
            nodes.push(binary(op, nodes.len() - 1, i % 2));
        }
        constraints(nodes, vec![len + 1])
    };
    let programs = compile(&chain(50_000), &main_width(2), 0).expect("valid");
    assert_eq!(programs.zerocheck.chunks.len(), 1);
    assert_eq!(programs.zerocheck.chunks[0].registers, 1);
    // upstream's evaluation recurses, so its chain is shorter
    check_dag(&chain(5_000), &main_width(2), 0);
}

#[test]
fn a_single_term_may_need_more_than_the_register_file() {
    let shape = DagShape::small();
    let dag = many_live_values(300);
    let programs = compile(&dag, &shape.widths, shape.public_values).expect("valid");
    let chunks = &programs.zerocheck.chunks;
    assert_eq!(chunks.len(), 1);
    assert!(chunks[0].registers >= 300);
    check_dag(&dag, &shape.widths, shape.public_values);
}

#[test]
fn a_chunk_with_many_live_values_is_cut() {
    // Constraint i uses two shared chains at far-apart places: together they need many registers,
    // one by one few.
    let mut nodes = vec![column(0), column(1)];
    let shared: Vec<usize> = (0..60)
        .map(|i| {
            nodes.push(binary(BinaryOp::Add, i % 2, nodes.len() - 1));
            nodes.len() - 1
        })
        .collect();
    let mut constraint_idx = vec![];
    for pass in 0..3 {
        for (i, &s) in shared.iter().enumerate() {
            nodes.push(binary(BinaryOp::Mul, s, (i + pass) % 2));
            constraint_idx.push(nodes.len() - 1);
        }
    }
    let dag = constraints(nodes, constraint_idx);
    let programs = compile(&dag, &main_width(2), 0).expect("valid");
    let chunks = &programs.zerocheck.chunks;
    assert!(chunks.len() > 1);
    assert!(chunks.iter().all(|c| c.registers <= REGISTER_FILE));
    check_dag(&dag, &main_width(2), 0);
}

#[test]
fn damaged_dags_are_errors() {
    let variable = |entry, index| Node::Variable(SymbolicVariable::new(entry, index));
    let main = |offset| Entry::Main { part_index: 0, offset };
    let error = |node: Node<F>, widths: &PartWidths| {
        compile(&constraints(vec![node], vec![0]), widths, 1).expect_err("damaged")
    };
    let local = main_width(2);
    let rotated = PartWidths { need_rot: true, ..local.clone() };
    use ConstraintError as E;
    assert_eq!(error(variable(Entry::Challenge, 0), &local), E::Challenge { node: 0 });
    assert_eq!(error(variable(main(2), 0), &rotated), E::Rotation { node: 0, offset: 2 });
    assert_eq!(error(variable(main(1), 0), &local), E::UnexpectedRotation { node: 0 });
    assert!(matches!(error(variable(main(0), 2), &local), E::ColumnOutOfRange { width: 2, .. }));
    assert!(matches!(
        error(variable(Entry::Preprocessed { offset: 0 }, 0), &local),
        E::ColumnOutOfRange { width: 0, .. }
    ));
    assert!(matches!(error(variable(Entry::Public, 1), &local), E::PublicValueOutOfRange { len: 1, .. }));
    assert!(matches!(error(binary(BinaryOp::Add, 0, 0), &local), E::NotTopological { .. }));
    let dag = constraints(vec![column(0)], vec![1]);
    assert!(matches!(compile(&dag, &local, 0), Err(E::NotTopological { .. })));
}

#[test]
fn logup_weights_are_flat() {
    let weights = LogupWeights::new([2, 1].into_iter());
    assert_eq!(weights.len(), 7);
    assert_eq!((weights.count(1), weights.bus(1)), (4, 5));
    assert_eq!((weights.message(0, 1), weights.message(1, 0)), (3, 6));
    assert_eq!(weights.entries(), [[0, 0], [0, 2], [0, 0], [0, 1], [1, 0], [1, 1], [1, 0]]);
    assert_eq!(weights.max_message_len(), 2);
}

/// The figures of the design for keccak: 36,410 operations, 43 chunks, 9% recomputed, at most 17 live.
#[test]
fn keccak_figures() {
    let (dag, programs) = keccak();
    let is_operation =
        |node: &&Node<F>| matches!(node, Node::Add { .. } | Node::Sub { .. } | Node::Mul { .. } | Node::Neg { .. });
    let nodes = &dag.constraints.nodes;
    let operations = nodes.iter().filter(is_operation).count();
    let zerocheck = &programs.zerocheck;
    let registers = zerocheck.chunks.iter().map(|c| c.registers).max();
    println!(
        "keccak: {} nodes, {operations} operations, {} chunks, {} operations in chunks, {registers:?} registers",
        nodes.len(),
        zerocheck.chunks.len(),
        zerocheck.num_operations(),
    );
    let mle = &programs.small_zerocheck;
    println!("MLE rounds: {} chunks, {} operations", mle.chunks.len(), mle.num_operations());
    assert_eq!(operations, 36_410);
    assert!(zerocheck.chunks.len() <= 46);
    assert!(zerocheck.num_operations() * 100 <= operations * 112);
    assert!(registers <= Some(24));
    check_row(&dag, &programs, 0, random_base);
    check_structure(zerocheck);
}

/// A permutation as Poseidon2's AIRs write it, a register for each S-box: state of 16, 4 + 13 + 4 rounds, all of whose registers depend on
/// sums of the whole state, and those of internal rounds on all before.
fn permutation_dag() -> (SymbolicConstraintsDag<F>, PartWidths) {
    const WIDTH: usize = 16;
    let (mut nodes, mut constraint_idx, mut columns) = (vec![], vec![], 0);
    let push = |nodes: &mut Vec<Node<F>>, node| {
        nodes.push(node);
        nodes.len() - 1
    };
    let mut column = |nodes: &mut Vec<Node<F>>| {
        columns += 1;
        let entry = Entry::Main { part_index: 0, offset: 0 };
        push(nodes, Node::Variable(SymbolicVariable::new(entry, columns - 1)))
    };
    let add = |nodes: &mut Vec<Node<F>>, left_idx, right_idx| {
        push(nodes, Node::Add { left_idx, right_idx, degree_multiple: 1 })
    };
    let mul = |nodes: &mut Vec<Node<F>>, left_idx, right_idx| {
        push(nodes, Node::Mul { left_idx, right_idx, degree_multiple: 1 })
    };
    let mut state: Vec<usize> = (0..WIDTH).map(|_| column(&mut nodes)).collect();
    for round in 0..21 {
        let sum = state[1..].iter().copied().fold(state[0], |sum, x| add(&mut nodes, sum, x));
        for (i, x) in state.iter_mut().enumerate() {
            let constant = push(&mut nodes, Node::Constant(F::from_usize(i + 2)));
            let scaled = mul(&mut nodes, *x, constant);
            *x = add(&mut nodes, scaled, sum);
        }
        let boxes = if (4..17).contains(&round) { 1 } else { WIDTH };
        for x in &mut state[..boxes] {
            let cube = mul(&mut nodes, *x, *x);
            let cube = mul(&mut nodes, cube, *x);
            let register = column(&mut nodes);
            let left_idx = cube;
            constraint_idx.push(push(&mut nodes, Node::Sub { left_idx, right_idx: register, degree_multiple: 3 }));
            *x = register;
        }
    }
    let constraints = SymbolicExpressionDag { nodes, constraint_idx };
    let widths = PartWidths { preprocessed: None, main: vec![columns], need_rot: false };
    (SymbolicConstraintsDag { constraints, interactions: vec![] }, widths)
}

#[test]
fn chunks_repeat_little() {
    let (dag, widths) = permutation_dag();
    check_dag(&dag, &widths, 0);
    let programs = compile(&dag, &widths, 0).unwrap();
    let leaf = |node: &&Node<F>| matches!(node, Node::Variable(_) | Node::Constant(_));
    let nodes = &dag.constraints.nodes;
    let distinct = nodes.len() - nodes.iter().filter(leaf).count();
    let repetition = |program: &Program| program.num_operations() as f64 / distinct as f64;
    let found = [&programs.zerocheck, &programs.small_zerocheck, &programs.short_zerocheck].map(repetition);
    println!("operations over distinct ones: {found:?}");
    assert!(found[1] <= MAX_REPETITION, "{found:?}");
    assert!(found[2] <= 4.0, "{found:?}");
    // without the bound it would exceed it by far
    assert!(programs.small_zerocheck.chunks.len() < distinct / SMALL_CHUNK_COST, "{found:?}");
}
