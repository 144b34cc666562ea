//! Device programs against the host executor, interpreted and generated, at awkward sizes and over several tiles.

use openvm_stark_backend::air_builders::symbolic::SymbolicConstraintsDag;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{ExtensionField, Field, PrimeCharacteristicRing};
use rand::{rngs::StdRng, SeedableRng};

use super::{oracle::Domain, *};
use crate::{
    constraints::{
        compile,
        host::{RowTables, RowValue},
        testing::*,
        AirPrograms, Program, TileLayout,
    },
    gpu::{
        testing::{self, gpu},
        DeviceBuffer, Element, Gpu,
    },
};

/// A tile on the host: columns of equal length.
struct Tile<V> {
    columns: Vec<Vec<V>>,
}

impl<V: Element + ExtensionField<F>> Tile<V> {
    fn random(rng: &mut StdRng, layout: &TileLayout, rows: usize, sample: fn(&mut StdRng) -> V) -> Self {
        let column = |_| (0..rows).map(|_| sample(rng)).collect();
        Self { columns: (0..layout.num_columns()).map(column).collect() }
    }

    /// Rows `range` with room for `stride`; the gap holds what no kernel should read. Over F in blocks of 64 rows.
    fn upload(&self, gpu: &Gpu, range: std::ops::Range<usize>, stride: usize) -> DeviceBuffer<V> {
        let column = |column: &Vec<V>| {
            let mut values = column[range.clone()].to_vec();
            values.resize(stride, V::ONE);
            values
        };
        let columns: Vec<Vec<V>> = self.columns.iter().map(column).collect();
        let block_rows = if V::WORDS == 1 { 64 } else { stride.max(1) };
        let block = |b: usize| columns.iter().flat_map(move |column| column[b..b + block_rows].iter().copied());
        let values: Vec<V> = (0..stride).step_by(block_rows).flat_map(block).collect();
        gpu.upload(&values, "tile").unwrap()
    }
}

/// A compiled random AIR with challenges and public values, on the host and the device.
struct Fixture {
    gpu: Gpu,
    programs: AirPrograms,
    evaluator: AirEvaluator,
    public_values: Vec<F>,
    challenges: TestChallenges,
    alpha: EF,
    rng: StdRng,
}

impl Fixture {
    fn new(dag: &SymbolicConstraintsDag<F>, shape: &DagShape, policy: EvaluatorPolicy) -> Self {
        let gpu = gpu();
        let mut rng = StdRng::seed_from_u64(11);
        let programs = compile(dag, &shape.widths, shape.public_values).unwrap();
        let evaluator = AirEvaluator::new(&gpu, &programs, policy, "test AIR").unwrap();
        let public_values = (0..shape.public_values).map(|_| random_base(&mut rng)).collect();
        let challenges = TestChallenges::sample(&mut rng, dag.interactions.len());
        let alpha = random_ext(&mut rng);
        Self { gpu, programs, evaluator, public_values, challenges, alpha, rng }
    }

    fn sample(shape: &DagShape, policy: EvaluatorPolicy) -> Self {
        Self::new(&shape.sample(5), shape, policy)
    }

    fn constants(&self) -> DeviceBuffer<F> {
        self.evaluator.constants(&self.gpu, &self.public_values).unwrap()
    }

    fn host_row<V>(&self, program: &Program, layout: &TileLayout, weights: &[EF], row: &[V]) -> RowValue<V, EF>
    where
        V: ExtensionField<F>,
        EF: ExtensionField<V>,
    {
        let tables = RowTables { public_values: &self.public_values, weights };
        program.eval_row(|column| row[layout.index(column).unwrap() as usize], tables)
    }

    fn program(&self, kind: RowKind, logup: bool) -> &DeviceProgram {
        match (kind, logup) {
            (RowKind::Lines, false) => &self.evaluator.mle_zerocheck,
            (RowKind::Lines, true) => &self.evaluator.mle_logup,
            (_, false) => &self.evaluator.round0_zerocheck,
            (_, true) => &self.evaluator.round0_logup,
        }
    }

    /// Weights of the zerocheck or (filled by the kernel) of the summed logup.
    fn weights(&self, logup: bool) -> (Vec<EF>, DeviceBuffer<EF>) {
        if !logup {
            let host = self.challenges.zerocheck_weights(self.programs.zerocheck.num_weights);
            let device = self.gpu.upload(&host, "weights").unwrap();
            return (host, device);
        }
        let host = self.challenges.logup_weights(&self.programs.logup_weights);
        let device = self.gpu.alloc(host.len(), "weights").unwrap();
        let mut eq_3b = vec![EF::ONE; 3];
        eq_3b.extend(&self.challenges.eq_3b);
        let eq_3b = self.gpu.upload(&eq_3b, "eq_3b").unwrap();
        let mut rec = self.gpu.recorder("test");
        self.evaluator.fill_summed_weights(&mut rec, (&eq_3b, 3), &self.beta_powers(), &device);
        rec.submit().unwrap();
        assert_eq!(self.gpu.download(&device).unwrap(), host);
        (host, device)
    }

    fn beta_powers(&self) -> DeviceBuffer<EF> {
        let len = self.programs.logup_weights.max_message_len() + 1;
        let powers: Vec<EF> = self.challenges.beta.powers().take(len).collect();
        self.gpu.upload(&powers, "powers of beta").unwrap()
    }
}

/// A summing program on random values, with what its sums are by definition.
struct SumCase<V> {
    domain: Domain,
    logup: bool,
    tile: Tile<V>,
    /// Row weights.
    eq: Vec<EF>,
    /// The program's weights.
    weights: DeviceBuffer<EF>,
    expected: Vec<EF>,
}

impl<V> SumCase<V>
where
    V: Element + ExtensionField<F>,
    EF: ExtensionField<V>,
{
    fn draw(fixture: &mut Fixture, domain: Domain, logup: bool, sample: fn(&mut StdRng) -> V) -> Self {
        let layout = fixture.program(domain.kind, logup).layout().clone();
        let tile = Tile::random(&mut fixture.rng, &layout, domain.tile_rows(), sample);
        let eq: Vec<EF> = (0..domain.rows).map(|_| random_ext(&mut fixture.rng)).collect();
        let (host_weights, weights) = fixture.weights(logup);
        let program = fixture.program(domain.kind, logup).program();
        let tables = RowTables { public_values: &fixture.public_values, weights: &host_weights };
        let expected = domain.sums((program, &layout), tables, &tile.columns, &eq);
        Self { domain, logup, tile, eq, weights, expected }
    }

    /// Adds up the rows in two tiles where there are two, behind a value of the sums that is not to be touched; sums begin as 1.
    fn on_device(&self, fixture: &Fixture) -> Vec<EF> {
        let Domain { kind, rows, points, last } = self.domain;
        let (gpu, program) = (&fixture.gpu, fixture.program(kind, self.logup));
        let constants = fixture.constants();
        let padded = [vec![EF::TWO; 2], self.eq.clone()].concat();
        let eq = gpu.upload(&padded, "eq").unwrap();
        let sums = gpu.upload(&vec![EF::ONE; self.expected.len() + 1], "sums").unwrap();
        let per_row = self.domain.tile_rows() / rows;
        let mut rec = gpu.recorder("test");
        for range in [0..rows / 3, rows / 3..rows] {
            let tile_rows = range.len() * per_row;
            let stride = if kind == RowKind::Lines { tile_rows + 3 } else { tile_stride(tile_rows) };
            let evaluation = SumEvaluation {
                tile: &self.tile.upload(gpu, range.start * per_row..range.end * per_row, stride),
                stride,
                rows: range.len(),
                points,
                last,
                constants: &constants,
                weights: &self.weights,
                eq: &eq,
                eq_offset: 2 + range.start,
                partials: &gpu.alloc(program.partials_len(range.len() * points, points), "partials").unwrap(),
                sums: &sums,
                sums_offset: 1,
            };
            program.add_sums(&mut rec, &evaluation);
        }
        let ticket = rec.download(&sums);
        rec.wait().unwrap().take(ticket).unwrap()
    }

    fn check(&self, fixture: &Fixture) {
        let expected: Vec<EF> = [EF::ZERO].iter().chain(&self.expected).map(|&sum| sum + EF::ONE).collect();
        assert_eq!(self.on_device(fixture), expected, "logup {}, {:?}", self.logup, self.domain);
    }
}

fn check_points(fixture: &mut Fixture, logup: bool, (rows, points): (usize, usize)) {
    SumCase::<F>::draw(fixture, Domain::points(rows, points), logup, random_base).check(fixture);
}

fn check_lines(fixture: &mut Fixture, logup: bool, domain: Domain) {
    SumCase::<EF>::draw(fixture, domain, logup, random_ext).check(fixture);
}

/// Zerocheck and logup on hypercube points times points of the cosets.
fn check_all_points(fixture: &mut Fixture, shapes: &[(usize, usize)]) {
    for (&shape, logup) in shapes.iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        check_points(fixture, logup, shape);
    }
}

/// Zerocheck and logup on lines times points, and on a tile of one row.
fn check_all_lines(fixture: &mut Fixture, shapes: &[(usize, usize)]) {
    let lines = shapes.iter().map(|&(rows, points)| Domain::lines(rows, points));
    for domain in lines.chain([Domain::one_row(1), Domain::one_row(3)]) {
        check_lines(fixture, false, domain);
        check_lines(fixture, true, domain);
    }
}

/// The fractions of a trace by definition, each with its place in the layer.
fn fractions(
    fixture: &Fixture,
    tile: &Tile<F>,
    (height, lift): (usize, usize),
    weights: &[EF],
    offsets: &[u32],
) -> Vec<(usize, (F, EF))> {
    let (norm, mut all) = (F::from_usize(lift).inverse(), vec![]);
    for r in 0..height {
        let row: Vec<F> = tile.columns.iter().map(|column| column[r]).collect();
        let layout = fixture.evaluator.gkr_input_layout();
        let outputs = fixture.host_row(&fixture.programs.interactions, layout, weights, &row).outputs;
        for (&offset, (count, denominator)) in offsets.iter().zip(outputs) {
            let fraction = (count * norm, denominator + fixture.alpha);
            all.extend((0..lift).map(|copy| (offset as usize + copy * height + r, fraction)));
        }
    }
    all
}

/// Checks the fractions of a trace of `height` rows in tiles of `tile_rows`, repeated `lift` times, in pieces of `piece_len`.
fn check_emit(fixture: &mut Fixture, (height, tile_rows, lift): (usize, usize, usize), piece_len: usize) {
    let layout = fixture.evaluator.gkr_input_layout().clone();
    let tile: Tile<F> = Tile::random(&mut fixture.rng, &layout, height, random_base);
    let weights = fixture.challenges.interaction_weights(&fixture.programs.logup_weights);
    let num_interactions = fixture.evaluator.num_interactions();
    // interactions in reverse, with room before and between
    let span = height * lift;
    let offsets: Vec<u32> = (0..num_interactions).map(|i| ((num_interactions - i) * (span + 1)) as u32).collect();
    let pieces = ((num_interactions + 1) * (span + 1)).div_ceil(piece_len);

    let mut expected = vec![(F::ONE, EF::TWO); pieces * piece_len];
    for (at, fraction) in fractions(fixture, &tile, (height, lift), &weights, &offsets) {
        expected[at] = fraction;
    }

    let gpu = &fixture.gpu;
    let device_weights = gpu.upload(&[weights, vec![fixture.alpha]].concat(), "weights").unwrap();
    let mut rec = gpu.recorder("test");
    fixture.evaluator.fill_emitted_weights(&mut rec, &fixture.beta_powers(), &device_weights);
    let ones = || gpu.upload(&vec![F::ONE; piece_len], "piece").unwrap().cast();
    let numerators: Vec<DeviceBuffer<u32>> = (0..pieces).map(|_| ones()).collect();
    let twos = || gpu.upload(&vec![EF::TWO; piece_len], "piece").unwrap();
    let denominators: Vec<_> = (0..pieces).map(|_| twos()).collect();
    let device_offsets = gpu.upload(&offsets, "offsets").unwrap();
    for first_row in (0..height).step_by(tile_rows) {
        let rows = tile_rows.min(height - first_row);
        let stride = tile_stride(rows);
        let evaluation = EmitEvaluation {
            tile: &tile.upload(gpu, first_row..first_row + rows, stride),
            stride,
            rows,
            first_row,
            height,
            lift,
            constants: &fixture.constants(),
            weights: &device_weights,
            offsets: (&offsets, &device_offsets),
            numerators: &numerators,
            denominators: &denominators,
            piece_len,
        };
        fixture.evaluator.gkr_input.emit(&mut rec, &evaluation);
    }
    rec.submit().unwrap();
    let found_numerators = numerators.iter().flat_map(|piece| gpu.download(&piece.cast::<F>()).unwrap());
    let found_denominators = denominators.iter().flat_map(|piece| gpu.download(piece).unwrap());
    let found: Vec<_> = found_numerators.zip(found_denominators).collect();
    assert_eq!(found, expected, "height {height}, tiles of {tile_rows}, lift {lift}, pieces of {piece_len}");
}

/// Several chunks of every program.
fn large() -> DagShape {
    DagShape { operations: 2500, window: 300, constraints: 60, interactions: 12, ..DagShape::small() }
}

#[test]
fn interpreted_points() {
    let mut fixture = Fixture::sample(&large(), EvaluatorPolicy::Interpreter);
    assert!(fixture.programs.zerocheck.chunks.len() > 2);
    check_all_points(&mut fixture, &[(1, 1), (2, 2), (3, 5), (7, 32), (70, 16), (129, 6)]);
}

#[test]
fn interpreted_lines() {
    let mut fixture = Fixture::sample(&large(), EvaluatorPolicy::Interpreter);
    check_all_lines(&mut fixture, &[(1, 1), (2, 3), (5, 4), (43, 3)]);
}

#[test]
fn interpreted_fractions() {
    let mut fixture = Fixture::sample(&large(), EvaluatorPolicy::Interpreter);
    assert!(fixture.programs.interactions.chunks.len() > 1);
    check_emit(&mut fixture, (1, 1, 1), 8);
    check_emit(&mut fixture, (2, 2, 4), 16);
    check_emit(&mut fixture, (8, 3, 1), 64);
    check_emit(&mut fixture, (512, 300, 2), 4096);
    check_emit(&mut fixture, (64, 64, 1), 32);
}

#[test]
fn generated_kernels_equal_the_interpreter() {
    let shape = DagShape { operations: 120, constraints: 12, ..DagShape::small() };
    let mut fixture = Fixture::sample(&shape, EvaluatorPolicy::Generated);
    assert!(fixture.evaluator.programs().into_iter().all(DeviceProgram::is_generated));
    check_all_points(&mut fixture, &[(1, 1), (7, 32), (129, 6), (65, 8), (3, 512)]);
    check_all_lines(&mut fixture, &[(1, 1), (43, 3)]);
    check_emit(&mut fixture, (1, 1, 4), 8);
    check_emit(&mut fixture, (512, 300, 2), 4096);
}

/// A kernel that holds several chunks, each the code of some workgroups.
#[test]
fn chunks_share_a_kernel() {
    let shape = DagShape { operations: 150, constraints: 150, interactions: 50, ..DagShape::small() };
    let mut fixture = Fixture::sample(&shape, EvaluatorPolicy::Interpreter);
    let (gpu, programs) = (fixture.gpu.clone(), fixture.programs.clone());
    let layout = programs.round0_layout();
    let generated = |interpreted, small_chunks: &Program| {
        let chunks = small_chunks.chunks.len();
        assert!(chunks > 1, "{} operations in {chunks} chunks", small_chunks.num_operations());
        let forms = ProgramForms { interpreted, generated: Some(small_chunks) };
        let program = DeviceProgram::new(&gpu, (forms, &layout), RowKind::Points, EvaluatorPolicy::Generated, "test");
        let program = program.unwrap();
        program.wait_for_kernels().unwrap();
        assert!(program.is_generated() && program.generated_kernels().count() < chunks);
        program
    };
    fixture.evaluator.round0_zerocheck = generated(&programs.zerocheck, &programs.small_zerocheck);
    fixture.evaluator.round0_logup = generated(&programs.logup, &programs.small_logup);
    check_all_points(&mut fixture, &[(1, 1), (129, 6), (65, 8)]);
}

#[test]
fn an_air_without_constraints_or_interactions_adds_nothing() {
    let shape = DagShape { constraints: 0, interactions: 0, ..DagShape::small() };
    let mut fixture = Fixture::sample(&shape, EvaluatorPolicy::Auto);
    check_all_points(&mut fixture, &[(2, 3)]);
    check_all_lines(&mut fixture, &[(2, 3)]);
    check_emit(&mut fixture, (4, 4, 1), 16);
}

#[test]
fn registers_beyond_the_file_are_spilled() {
    let shape = DagShape::small();
    for live in [40, 3000] {
        let mut fixture = Fixture::new(&many_live_values(live), &shape, EvaluatorPolicy::Interpreter);
        assert!(fixture.evaluator.round0_zerocheck.spills(0));
        check_all_points(&mut fixture, &[(3, 2), (129, 20)]);
        check_all_lines(&mut fixture, &[(3, 2), (300, 2)]);
        check_emit(&mut fixture, (5, 5, 1), 32);
        check_emit(&mut fixture, (2048, 2000, 1), 8192);
    }
}

#[test]
fn long_evaluations_are_cut_into_dispatches() {
    let fixture = Fixture::sample(&large(), EvaluatorPolicy::Interpreter);
    let program = &fixture.evaluator.round0_zerocheck;
    let evaluations = 1 << 20;
    let dispatches = program.plan(&fixture.gpu, evaluations, |_| true);
    let mut covered = vec![0; program.program().chunks.len()];
    for dispatch in &dispatches {
        for c in dispatch.slice.chunks.clone() {
            covered[c] += dispatch.slice.workgroups.len();
        }
    }
    assert!(covered.iter().all(|&workgroups| workgroups == evaluations / 256));
    assert!(dispatches.len() > covered.len());
}

/// Each way of evaluating keccak once: the round-0 tile of two hypercube points, and lines through four rows.
#[test]
fn keccak_interpreted() {
    let (dag, programs) = keccak();
    let shape = DagShape { widths: programs.widths.clone(), public_values: 0, ..DagShape::small() };
    let mut fixture = Fixture::new(&dag, &shape, EvaluatorPolicy::Interpreter);
    check_points(&mut fixture, false, (2, 32));
    check_lines(&mut fixture, false, Domain::lines(2, 3));
}

/// keccak with every `step`-th of its constraints, and generated kernels.
fn keccak_generated(step: usize) -> Fixture {
    let (mut dag, programs) = keccak();
    dag.constraints.constraint_idx = dag.constraints.constraint_idx.into_iter().step_by(step).collect();
    let shape = DagShape { widths: programs.widths, public_values: 0, ..DagShape::small() };
    Fixture::new(&dag, &shape, EvaluatorPolicy::Generated)
}

/// Round 0 has kernels for all of keccak, which run as Metal text; a software driver would take minutes to compile them.
#[test]
fn keccak_round_0_generated() {
    let mut fixture = keccak_generated(if testing::on_machine() { 1 } else { 60 });
    fixture.evaluator.round0_zerocheck.wait_for_kernels().unwrap();
    assert!(fixture.evaluator.round0_zerocheck.is_generated());
    check_points(&mut fixture, false, (2, 32));
}

/// The MLE rounds have kernels for small AIRs only.
#[test]
fn a_part_of_keccak_generated_on_lines() {
    let mut fixture = keccak_generated(150);
    fixture.evaluator.mle_zerocheck.wait_for_kernels().unwrap();
    assert!(fixture.evaluator.mle_zerocheck.is_generated());
    check_lines(&mut fixture, false, Domain::lines(2, 3));
}

/// A software adapter starts compiling after 2^20 rows, a GPU at once; before and after, the sums are the interpreter's.
#[test]
fn automatic_policy_switches_to_generated_kernels() {
    let shape = DagShape { operations: 20, constraints: 2, interactions: 0, ..DagShape::small() };
    let mut fixture = Fixture::sample(&shape, EvaluatorPolicy::Auto);
    let rows = 1 << 20;
    let layout = fixture.evaluator.round0_layout().clone();
    let column: Vec<F> = (0..rows).map(|_| random_base(&mut fixture.rng)).collect();
    let tile = fixture.gpu.upload(&column.repeat(layout.num_columns()), "tile").unwrap();
    let eq = fixture.gpu.upload(&vec![EF::TWO; rows], "eq").unwrap();
    let (_, weights) = fixture.weights(false);
    let constants = fixture.constants();
    let evaluate = |program: &DeviceProgram| {
        let partials = fixture.gpu.alloc(program.partials_len(rows, 1), "partials").unwrap();
        let sums = fixture.gpu.upload(&[EF::ZERO], "sums").unwrap();
        let evaluation = SumEvaluation {
            tile: &tile,
            stride: rows,
            rows,
            points: 1,
            last: false,
            constants: &constants,
            weights: &weights,
            eq: &eq,
            eq_offset: 0,
            partials: &partials,
            sums: &sums,
            sums_offset: 0,
        };
        let mut rec = fixture.gpu.recorder("test");
        program.add_sums(&mut rec, &evaluation);
        rec.submit().unwrap();
        fixture.gpu.download(&sums).unwrap()
    };
    let interpreter = Fixture::sample(&shape, EvaluatorPolicy::Interpreter).evaluator.round0_zerocheck;
    let interpreted = evaluate(&interpreter);
    assert!(!interpreter.is_generated());
    let program = &fixture.evaluator.round0_zerocheck;
    assert!(!(fixture.gpu.capabilities().software && program.is_generated()));
    assert_eq!(evaluate(program), interpreted);
    fixture.gpu.wait_for_kernels();
    assert!(program.is_generated());
    let dispatches = program.plan(&fixture.gpu, rows, |_| true);
    assert!(dispatches.iter().all(|dispatch| dispatch.kernel.is_some()));
    let few = program.plan(&fixture.gpu, 100, |_| true);
    assert!(few.iter().all(|dispatch| dispatch.kernel.is_none()));
    assert_eq!(evaluate(program), interpreted);
}
