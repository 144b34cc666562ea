//! Work lists against the host executor: several AIRs, sizes and places in one list.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{ExtensionField, Field, PrimeCharacteristicRing};
use rand::{rngs::StdRng, SeedableRng};

use super::{oracle::Domain, *};
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

    /// Logup and zerocheck on the device and on the host, and whether powers of lambda weigh.
    fn programs<'a>(&self, listed: &'a ListedAir, kind: RowKind) -> [(&'a ListedProgram, &Program, bool); 2] {
        let [logup, zerocheck] = match kind {
            RowKind::Lines => [&listed.mle_logup, &listed.mle_zerocheck],
            _ => [&listed.round0_logup, &listed.round0_zerocheck],
        };
        [(logup, &self.programs.logup, false), (zerocheck, &self.programs.zerocheck, true)]
    }
}

/// A tile of one AIR.
struct Case {
    air: usize,
    domain: Domain,
}

/// What the jobs of a list read and what their sums are by definition, in the making: tables begin with something that no job reads.
struct Tables<V> {
    constants: Vec<F>,
    logup: Vec<EF>,
    lambda: Vec<EF>,
    tile: Vec<V>,
    eq: Vec<EF>,
    /// First constant and logup weight of each AIR.
    starts: Vec<(usize, usize)>,
    expected: Vec<EF>,
}

impl<V> Tables<V>
where
    V: Element + ExtensionField<F>,
    EF: ExtensionField<V>,
{
    fn new(airs: &[TestAir], rng: &mut StdRng) -> Self {
        let (mut constants, mut logup, mut starts) = (vec![F::TWO], vec![EF::TWO], vec![]);
        for air in airs {
            starts.push((constants.len(), logup.len()));
            constants.extend(air.evaluator.constant_values(&air.public_values));
            logup.extend(&air.logup);
        }
        let most = airs.iter().map(|air| air.evaluator.num_constraints()).max().unwrap();
        let lambda = random_ext(rng).powers().take(most).collect();
        let (tile, eq, expected) = (vec![V::ONE; 4], vec![EF::TWO], vec![EF::ONE]);
        Self { constants, logup, lambda, tile, eq, starts, expected }
    }

    /// Appends a tile: columns of `stride` elements, over F in blocks of 64 rows. Returns where it begins.
    fn add_tile(&mut self, columns: &[Vec<V>], stride: usize) -> usize {
        let tile_at = self.tile.len();
        let block = if V::WORDS == 4 { stride } else { 64 };
        for start in (0..stride).step_by(block) {
            for column in columns {
                self.tile.extend((start..start + block).map(|row| column.get(row).copied().unwrap_or(V::ONE)));
            }
        }
        self.tile.resize(self.tile.len().next_multiple_of(4), V::ONE);
        tile_at
    }

    /// Appends a tile of random values, and its jobs: logup and zerocheck, each in both forms.
    fn add<'a>(
        &mut self,
        (case, air, listed): (&Case, &TestAir, &'a ListedAir),
        rng: &mut StdRng,
        sample: fn(&mut StdRng) -> V,
    ) -> Vec<Job<'a>> {
        let Domain { kind, rows, points, last } = case.domain;
        let lines = kind == RowKind::Lines;
        let layout = if lines { air.evaluator.mle_layout() } else { air.evaluator.round0_layout() };
        let tile_rows = case.domain.tile_rows();
        let columns: Vec<Vec<V>> =
            (0..layout.num_columns()).map(|_| (0..tile_rows).map(|_| sample(rng)).collect()).collect();
        let weights: Vec<EF> = (0..rows).map(|_| random_ext(rng)).collect();
        let stride = if lines { tile_rows } else { tile_stride(tile_rows) };
        let tile_at = self.add_tile(&columns, stride);
        let (constants_at, weights_at) = self.starts[case.air];
        let mut jobs = vec![];
        for (listed, program, lambda) in
            air.programs(listed, kind).into_iter().filter(|(listed, ..)| !listed.is_empty())
        {
            let weights_of = if lambda { &self.lambda } else { &air.logup };
            let tables = RowTables { public_values: &air.public_values, weights: weights_of };
            let sums = case.domain.sums((program, layout), tables, &columns, &weights);
            for form in listed.forms() {
                let stride = if lines { stride } else { layout.num_columns() };
                let (eq_at, sums_at) = (self.eq.len(), self.expected.len());
                jobs.push(Job {
                    form,
                    lambda,
                    rows,
                    points,
                    last,
                    constants_at,
                    weights_at,
                    tile_at,
                    stride,
                    eq_at,
                    sums_at,
                });
                self.expected.extend(&sums);
            }
        }
        self.eq.extend(weights);
        jobs
    }
}

/// Checks the jobs of `cases` in one list, behind an empty one.
fn check<V>(kind: RowKind, airs: &[TestAir], cases: &[Case], rng: &mut StdRng, sample: fn(&mut StdRng) -> V)
where
    V: Element + ExtensionField<F>,
    EF: ExtensionField<V>,
{
    let gpu = gpu();
    let table = ProgramTable::new(&gpu, airs.iter().map(|air| &air.evaluator)).unwrap();
    assert!((0..airs.len()).all(|a| table.air(a).is_listable()));
    let mut tables = Tables::new(airs, rng);
    let of_case = |case: &Case| tables.add((case, &airs[case.air], table.air(case.air)), rng, sample);
    let jobs: Vec<Job<'_>> = cases.iter().flat_map(of_case).collect();
    let mut lists = WorkLists::default();
    let lists_of = [lists.add(kind, &[]), lists.add(kind, &jobs)];
    let device = lists.finish(&gpu).unwrap();
    let upload = |values: &[EF]| gpu.upload(values, "test").unwrap();
    let constants = gpu.upload(&tables.constants, "test").unwrap();
    let [logup, lambda, eq] = [&tables.logup, &tables.lambda, &tables.eq].map(|table| upload(table));
    let read = ListTables { constants: &constants, lambda: &lambda, logup: &logup, eq: &eq, records: table.records() };
    let tile = gpu.upload(&tables.tile, "tile").unwrap();
    let sums = upload(&vec![EF::ONE; tables.expected.len()]);
    let mut rec = gpu.recorder("test");
    for list in &lists_of {
        match kind {
            RowKind::Lines => device.lines(&mut rec, list, &tile.cast(), read, &sums),
            _ => device.points(&mut rec, list, &tile.cast(), read, &sums),
        }
    }
    rec.submit().unwrap();
    assert_eq!(gpu.download(&sums).unwrap(), tables.expected);
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
        let case = |air, rows| Case { air, domain: Domain::lines(rows, points) };
        let one_row = Case { air: 1, domain: Domain::one_row(points) };
        let cases = [case(1, 64), case(0, 23), case(2, 2), case(0, 1), one_row];
        check::<EF>(RowKind::Lines, &airs, &cases, &mut rng, random_ext);
        // one accumulator in all of the list
        check::<EF>(RowKind::Lines, &airs, &[case(2, 70), case(2, 3)], &mut rng, random_ext);
    }
}

#[test]
fn points_of_many_airs() {
    let mut rng = StdRng::seed_from_u64(22);
    let airs = airs(&mut rng);
    let case = |air, rows, points| Case { air, domain: Domain::points(rows, points) };
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

/// A trace of one AIR among others in one list.
struct EmitCase {
    air: usize,
    height: usize,
    /// How often the trace is repeated.
    lift: usize,
    tile_at: usize,
    offsets: Vec<u32>,
}

/// Traces with what becomes of them by definition, in the making.
struct ListedTraces {
    alpha: EF,
    tile: Vec<F>,
    /// Places of the layer that are taken.
    end: usize,
    cases: Vec<EmitCase>,
    /// Each with its place.
    fractions: Vec<(usize, (F, EF))>,
}

impl ListedTraces {
    /// Appends a random trace of `airs[air]`.
    fn add(&mut self, airs: &[TestAir], (air, height, lift): (usize, usize, usize), rng: &mut StdRng) {
        let test = &airs[air];
        let layout = test.evaluator.gkr_input_layout();
        let columns: Vec<Vec<F>> =
            (0..layout.num_columns()).map(|_| (0..height).map(|_| random_base(rng)).collect()).collect();
        // with a place free before each interaction's
        let step = height * lift + 1;
        let offsets: Vec<u32> = (0..test.evaluator.num_interactions()).map(|i| (self.end + i * step) as u32).collect();
        self.end += offsets.len() * step;
        for r in 0..height {
            let row: Vec<F> = columns.iter().map(|column| column[r]).collect();
            let tables = RowTables { public_values: &test.public_values, weights: &test.logup };
            let found =
                test.programs.interactions.eval_row(|column| row[layout.index(column).unwrap() as usize], tables);
            for (&offset, (count, denominator)) in offsets.iter().zip(found.outputs) {
                let fraction = (count * F::from_usize(lift).inverse(), denominator + self.alpha);
                self.fractions.extend((0..lift).map(|copy| (offset as usize + copy * height + r, fraction)));
            }
        }
        let tile_at = self.tile.len();
        for start in (0..tile_stride(height)).step_by(64) {
            for column in &columns {
                self.tile.extend((start..start + 64).map(|row| column.get(row).copied().unwrap_or(F::ONE)));
            }
        }
        self.cases.push(EmitCase { air, height, lift, tile_at, offsets });
    }

    /// The jobs of a list; constants and weights of each AIR begin at `starts`.
    fn jobs<'a>(&'a self, airs: &[TestAir], table: &'a ProgramTable, starts: &[(usize, usize)]) -> Vec<EmitJob<'a>> {
        let mut offsets_at = 0;
        let jobs = self.cases.iter().map(|case| {
            let job = EmitJob {
                form: table.air(case.air).gkr_input.as_ref().unwrap(),
                constants_at: starts[case.air].0,
                weights_at: starts[case.air].1,
                tile_at: case.tile_at,
                columns: airs[case.air].evaluator.gkr_input_layout().num_columns(),
                offsets: &case.offsets,
                offsets_at,
                height: case.height,
                lift: case.lift,
            };
            offsets_at += case.offsets.len();
            job
        });
        jobs.collect()
    }
}

#[test]
fn fractions_of_many_airs() {
    let (gpu, mut rng) = (gpu(), StdRng::seed_from_u64(23));
    let airs = airs(&mut rng);
    let table = ProgramTable::new(&gpu, airs.iter().map(|air| &air.evaluator)).unwrap();
    let alpha = random_ext(&mut rng);
    let Tables { constants, logup: mut weights, starts, .. } = Tables::<F>::new(&airs, &mut rng);
    weights.push(alpha);
    let mut traces = ListedTraces { alpha, tile: vec![F::ONE; 4], end: 1, cases: vec![], fractions: vec![] };
    for case in [(1, 512, 1), (0, 1, 4), (2, 8, 1), (1, 8, 2), (0, 64, 1), (1, 1, 1)] {
        traces.add(&airs, case, &mut rng);
    }
    let pieces = traces.end.div_ceil(PIECE);
    assert!(pieces > 2);
    let mut expected = vec![(F::ONE, EF::TWO); pieces * PIECE];
    traces.fractions.iter().for_each(|&(at, fraction)| expected[at] = fraction);

    let list = EmitList::new(&gpu, &traces.jobs(&airs, &table, &starts)).unwrap();
    let leaves = Fractions {
        log_len: (pieces * PIECE).next_power_of_two().ilog2() as usize,
        real_len: pieces * PIECE,
        numer: (0..pieces).map(|_| gpu.upload(&vec![F::ONE; PIECE], "piece").unwrap().cast()).collect(),
        denom: (0..pieces).map(|_| gpu.upload(&vec![EF::TWO; PIECE], "piece").unwrap()).collect(),
        base_numerators: true,
    };
    let all_offsets: Vec<u32> = traces.cases.iter().flat_map(|case| case.offsets.iter().copied()).collect();
    let (constants, alpha) = (gpu.upload(&constants, "test").unwrap(), weights.len() - 1);
    let (weights, offsets) = (gpu.upload(&weights, "test").unwrap(), gpu.upload(&all_offsets, "test").unwrap());
    let tables =
        EmitTables { constants: &constants, weights: &weights, alpha, offsets: &offsets, records: table.records() };
    let tile = gpu.upload(&traces.tile, "tile").unwrap();
    let mut rec = gpu.recorder("test");
    list.emit(&mut rec, &tile, tables, &leaves);
    rec.submit().unwrap();
    let numerators = leaves.numer.iter().flat_map(|piece| gpu.download(&piece.cast::<F>()).unwrap());
    let found: Vec<_> = numerators.zip(leaves.denom.iter().flat_map(|piece| gpu.download(piece).unwrap())).collect();
    assert_eq!(found, expected);
}
