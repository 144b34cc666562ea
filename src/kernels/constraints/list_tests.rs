//! Work lists against the host executor: several AIRs, sizes and places in one list.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{ExtensionField, Field, PrimeCharacteristicRing};
use rand::{rngs::StdRng, SeedableRng};

use super::*;
use crate::{
    constraints::{
        compile,
        host::RowTables,
        testing::{random_base, random_ext, DagShape, TestChallenges},
        AirPrograms, Program,
    },
    gpu::{testing::gpu, Element},
    kernels::gkr::Fractions,
};

/// An AIR with what its jobs read.
struct TestAir {
    programs: AirPrograms,
    evaluator: AirEvaluator,
    public_values: Vec<F>,
    logup: Vec<EF>,
}

impl TestAir {
    fn new(rng: &mut StdRng, shape: &DagShape, seed: u64) -> Self {
        let dag = shape.sample(seed);
        let programs = compile(&dag, &shape.widths, shape.public_values).unwrap();
        let evaluator = AirEvaluator::new(&gpu(), &programs, EvaluatorPolicy::Interpreter, "test AIR").unwrap();
        let public_values = (0..shape.public_values).map(|_| random_base(rng)).collect();
        let logup = TestChallenges::sample(rng, dag.interactions.len()).logup_weights(&programs.logup_weights);
        Self { programs, evaluator, public_values, logup }
    }
}

/// One tile and the evaluations of it.
struct Case {
    air: usize,
    rows: usize,
    points: usize,
    last: bool,
}

/// Checks the jobs of `cases` in one list.
fn check<V>(kind: RowKind, airs: &[TestAir], cases: &[Case], rng: &mut StdRng, sample: fn(&mut StdRng) -> V)
where
    V: Element + ExtensionField<F>,
    EF: ExtensionField<V>,
{
    let gpu = gpu();
    let lines = kind == RowKind::Lines;
    let table = ProgramTable::new(&gpu, airs.iter().map(|air| &air.evaluator)).unwrap();
    assert!((0..airs.len()).all(|a| table.air(a).is_listable()));
    let (mut constants, mut logup, mut starts) = (vec![F::TWO], vec![EF::TWO], vec![]);
    for air in airs {
        starts.push((constants.len(), logup.len()));
        constants.extend(air.evaluator.constant_values(&air.public_values));
        logup.extend(&air.logup);
    }
    let most = airs.iter().map(|air| air.evaluator.num_constraints()).max().unwrap();
    let lambda: Vec<EF> = random_ext(rng).powers().take(most).collect();
    let (mut tile, mut eq, mut jobs) = (vec![V::ONE; 4], vec![EF::TWO], vec![]);
    let mut expected = vec![EF::ONE];
    for case in cases {
        let (air, listed) = (&airs[case.air], table.air(case.air));
        let layout = if lines { air.evaluator.mle_layout() } else { air.evaluator.round0_layout() };
        let tile_rows = match (lines, case.last) {
            (true, true) => 1,
            (true, false) => 2 * case.rows,
            (false, _) => case.rows * case.points,
        };
        let columns: Vec<Vec<V>> =
            (0..layout.num_columns()).map(|_| (0..tile_rows).map(|_| sample(rng)).collect()).collect();
        let weights: Vec<EF> = (0..case.rows).map(|_| random_ext(rng)).collect();
        let tile_at = tile.len();
        let stride = if lines { tile_rows } else { tile_stride(tile_rows) };
        let block = if lines { stride } else { 64 };
        for start in (0..stride).step_by(block) {
            for column in &columns {
                tile.extend((start..start + block).map(|row| column.get(row).copied().unwrap_or(V::ONE)));
            }
        }
        tile.resize(tile.len().next_multiple_of(4), V::ONE);
        let programs: [(&ListedProgram, &Program, bool); 2] = match lines {
            true => [
                (&listed.mle_logup, &air.programs.logup, false),
                (&listed.mle_zerocheck, &air.programs.zerocheck, true),
            ],
            false => [
                (&listed.round0_logup, &air.programs.logup, false),
                (&listed.round0_zerocheck, &air.programs.zerocheck, true),
            ],
        };
        for (listed, program, zerocheck) in programs.into_iter().filter(|(listed, ..)| !listed.is_empty()) {
            let accumulators = program.num_accumulators as usize;
            let mut sums = vec![EF::ZERO; accumulators * case.points];
            let weights_of = if zerocheck { &lambda } else { &air.logup };
            for (x, weight) in weights.iter().enumerate() {
                for p in 0..case.points {
                    let value = |column: &Vec<V>| match (lines, case.last) {
                        (false, _) => column[x * case.points + p],
                        (true, true) => column[0],
                        (true, false) => column[2 * x] + (column[2 * x + 1] - column[2 * x]) * V::from_usize(p + 1),
                    };
                    let row: Vec<V> = columns.iter().map(value).collect();
                    let tables = RowTables { public_values: &air.public_values, weights: weights_of };
                    let found = program.eval_row(|column| row[layout.index(column).unwrap() as usize], tables);
                    for (a, sum) in sums.chunks_mut(case.points).enumerate() {
                        sum[p] += *weight * found.acc[a];
                    }
                }
            }
            for form in listed.forms() {
                jobs.push(Job {
                    form,
                    lambda: zerocheck,
                    rows: case.rows,
                    points: case.points,
                    last: case.last,
                    constants_at: starts[case.air].0,
                    weights_at: starts[case.air].1,
                    tile_at,
                    stride: if lines { stride } else { layout.num_columns() },
                    eq_at: eq.len(),
                    sums_at: expected.len(),
                });
                expected.extend(&sums);
            }
        }
        eq.extend(weights);
    }
    let mut lists = WorkLists::default();
    let other = lists.add(kind, &[]);
    let list = lists.add(kind, &jobs);
    let device = lists.finish(&gpu).unwrap();
    let upload = |values: &[EF]| gpu.upload(values, "test").unwrap();
    let (constants, logup, lambda, eq) =
        (gpu.upload(&constants, "test").unwrap(), upload(&logup), upload(&lambda), upload(&eq));
    let tables =
        ListTables { constants: &constants, lambda: &lambda, logup: &logup, eq: &eq, records: table.records() };
    let tile = gpu.upload(&tile, "tile").unwrap();
    let sums = upload(&vec![EF::ONE; expected.len()]);
    let mut rec = gpu.recorder("test");
    for list in [&other, &list] {
        match lines {
            true => device.lines(&mut rec, list, &tile.cast(), tables, &sums),
            false => device.points(&mut rec, list, &tile.cast(), tables, &sums),
        }
    }
    rec.submit().unwrap();
    assert_eq!(gpu.download(&sums).unwrap(), expected);
}

fn airs(rng: &mut StdRng) -> Vec<TestAir> {
    let small = DagShape::small();
    let large = DagShape { operations: 1500, window: 300, constraints: 60, interactions: 12, ..DagShape::small() };
    let silent = DagShape { interactions: 0, ..DagShape::small() };
    let airs: Vec<_> = [small, large, silent].iter().zip(1..).map(|(shape, s)| TestAir::new(rng, shape, s)).collect();
    assert!(airs[1].programs.small_zerocheck.chunks.len() > 1);
    assert!(airs[1].programs.short_zerocheck.chunks.len() > airs[1].programs.small_zerocheck.chunks.len());
    airs
}

#[test]
fn lines_of_many_airs() {
    let mut rng = StdRng::seed_from_u64(21);
    let airs = airs(&mut rng);
    for points in [1, 3, 4, 7, 64] {
        let case = |air, rows, last| Case { air, rows, points, last };
        let cases = [case(1, 64, false), case(0, 23, false), case(2, 2, false), case(0, 1, false), case(1, 1, true)];
        check::<EF>(RowKind::Lines, &airs, &cases, &mut rng, random_ext);
        // one accumulator in all of the list
        check::<EF>(RowKind::Lines, &airs, &[case(2, 70, false), case(2, 3, false)], &mut rng, random_ext);
    }
}

#[test]
fn points_of_many_airs() {
    let mut rng = StdRng::seed_from_u64(22);
    let airs = airs(&mut rng);
    let case = |air, rows, points| Case { air, rows, points, last: false };
    let cases = [
        case(1, 9, 48),
        case(0, 1, 1),
        case(2, 70, 3),
        case(0, 2, 256),
        case(1, 3, 32),
        case(2, 129, 6),
        case(0, 5, 63),
    ];
    check::<F>(RowKind::Points, &airs, &cases, &mut rng, random_base);
    check::<F>(RowKind::Points, &airs, &[case(2, 70, 16), case(2, 3, 4)], &mut rng, random_base);
    assert!(!can_list(RowKind::Points, 65) && !can_list(RowKind::Points, 130) && !can_list(RowKind::Points, 512));
    assert!(!can_list(RowKind::Lines, 65) && !can_list(RowKind::Lines, 0));
}

/// Leaves in pieces of this many.
const PIECE: usize = 1 << 11;

/// Traces of several AIRs in one list: AIR, height, how often the trace is repeated.
#[test]
fn fractions_of_many_airs() {
    let (gpu, mut rng) = (gpu(), StdRng::seed_from_u64(23));
    let airs = airs(&mut rng);
    let table = ProgramTable::new(&gpu, airs.iter().map(|air| &air.evaluator)).unwrap();
    let alpha = random_ext(&mut rng);
    let (mut constants, mut weights, mut starts) = (vec![F::TWO], vec![EF::TWO], vec![]);
    for air in &airs {
        starts.push((constants.len(), weights.len()));
        constants.extend(air.evaluator.constant_values(&air.public_values));
        weights.extend(&air.logup);
    }
    weights.push(alpha);
    let (mut tile, mut end, mut cases) = (vec![F::ONE; 4], 1, vec![]);
    let mut fractions = vec![];
    for (air, height, lift) in [(1, 512, 1), (0, 1, 4), (2, 8, 1), (1, 8, 2), (0, 64, 1), (1, 1, 1)] {
        let test = &airs[air];
        let layout = test.evaluator.gkr_input_layout();
        let columns: Vec<Vec<F>> =
            (0..layout.num_columns()).map(|_| (0..height).map(|_| random_base(&mut rng)).collect()).collect();
        let step = height * lift + 1;
        let offsets: Vec<u32> = (0..test.evaluator.num_interactions()).map(|i| (end + i * step) as u32).collect();
        end += offsets.len() * step;
        for r in 0..height {
            let row: Vec<F> = columns.iter().map(|column| column[r]).collect();
            let tables = RowTables { public_values: &test.public_values, weights: &test.logup };
            let found =
                test.programs.interactions.eval_row(|column| row[layout.index(column).unwrap() as usize], tables);
            for (&offset, (count, denominator)) in offsets.iter().zip(found.outputs) {
                let fraction = (count * F::from_usize(lift).inverse(), denominator + alpha);
                fractions.extend((0..lift).map(|copy| (offset as usize + copy * height + r, fraction)));
            }
        }
        let tile_at = tile.len();
        for start in (0..tile_stride(height)).step_by(64) {
            for column in &columns {
                tile.extend((start..start + 64).map(|row| column.get(row).copied().unwrap_or(F::ONE)));
            }
        }
        cases.push((air, height, lift, tile_at, offsets));
    }
    let pieces = end.div_ceil(PIECE);
    assert!(pieces > 2);
    let mut expected = vec![(F::ONE, EF::TWO); pieces * PIECE];
    fractions.into_iter().for_each(|(at, fraction)| expected[at] = fraction);

    let all_offsets: Vec<u32> = cases.iter().flat_map(|case| case.4.iter().copied()).collect();
    let jobs: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(i, (air, height, lift, tile_at, offsets))| EmitJob {
            form: table.air(*air).gkr_input.as_ref().unwrap(),
            constants_at: starts[*air].0,
            weights_at: starts[*air].1,
            tile_at: *tile_at,
            columns: airs[*air].evaluator.gkr_input_layout().num_columns(),
            offsets,
            offsets_at: cases[..i].iter().map(|case| case.4.len()).sum(),
            height: *height,
            lift: *lift,
        })
        .collect();
    let list = EmitList::new(&gpu, &jobs).unwrap();
    let leaves = Fractions {
        log_len: (pieces * PIECE).next_power_of_two().ilog2() as usize,
        real_len: pieces * PIECE,
        numer: (0..pieces).map(|_| gpu.upload(&vec![F::ONE; PIECE], "piece").unwrap().cast()).collect(),
        denom: (0..pieces).map(|_| gpu.upload(&vec![EF::TWO; PIECE], "piece").unwrap()).collect(),
        base_numerators: true,
    };
    let (constants, alpha) = (gpu.upload(&constants, "test").unwrap(), weights.len() - 1);
    let (weights, offsets) = (gpu.upload(&weights, "test").unwrap(), gpu.upload(&all_offsets, "test").unwrap());
    let tables =
        EmitTables { constants: &constants, weights: &weights, alpha, offsets: &offsets, records: table.records() };
    let tile = gpu.upload(&tile, "tile").unwrap();
    let mut rec = gpu.recorder("test");
    list.emit(&mut rec, &tile, tables, &leaves);
    rec.submit().unwrap();
    let numerators = leaves.numer.iter().flat_map(|piece| gpu.download(&piece.cast::<F>()).unwrap());
    let found: Vec<_> = numerators.zip(leaves.denom.iter().flat_map(|piece| gpu.download(piece).unwrap())).collect();
    assert_eq!(found, expected);
}
