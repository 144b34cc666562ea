//! Each kernel against its formula on the host.

use openvm_stark_backend::{
    poly_common::{eval_eq_uni, horner_eval},
    prover::poly::evals_eq_hypercube,
    FiatShamirTranscript,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    default_duplex_sponge, BabyBearPoseidon2Config as SC, DuplexSponge, EF, F,
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, TwoAdicField};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{
    gpu::{from_words, testing, Gpu},
    kernels::transcript::{Challenge, DeviceSponge},
};

fn random(rng: &mut StdRng, len: usize) -> Vec<F> {
    (0..len).map(|_| F::from_u32(rng.random())).collect()
}

fn random_exts(rng: &mut StdRng, len: usize) -> Vec<EF> {
    (0..len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect()
}

/// These challenges on a tape, a round's words apart from word 3 on.
fn on_tape(gpu: &Gpu, challenges: &[EF]) -> Vec<Challenge> {
    let mut words = vec![F::TWO; 3];
    for challenge in challenges {
        words.extend_from_slice(challenge.as_basis_coefficients_slice());
        words.extend([F::TWO; 8]);
    }
    let tape = gpu.upload(&words, "tape").unwrap();
    (0..challenges.len()).map(|i| Challenge::new(&tape, 3 + ROUND_WORDS as usize * i)).collect()
}

fn read<T: crate::gpu::Element>(rec: Recorder, buffer: &DeviceBuffer<T>) -> Vec<T> {
    let mut rec = rec;
    let ticket = rec.download(buffer);
    rec.wait().unwrap().take(ticket).unwrap()
}

fn fold(values: &[EF], u: EF) -> Vec<EF> {
    values.chunks(2).map(|pair| pair[0] + (pair[1] - pair[0]) * u).collect()
}

fn product_round(values: &[EF], weights: &[EF]) -> [EF; 2] {
    let at = |pair: &[EF], x: EF| pair[0] + (pair[1] - pair[0]) * x;
    [EF::ONE, EF::TWO].map(|x| values.chunks(2).zip(weights.chunks(2)).map(|(v, w)| at(v, x) * at(w, x)).sum())
}

/// A sponge on the device with a tape of its own, and what is expected of both.
struct Steps {
    sponge: DeviceSponge,
    tape: DeviceBuffer<F>,
    words: usize,
    host: DuplexSponge,
    expected: Vec<EF>,
}

impl Steps {
    fn new(gpu: &Gpu) -> Self {
        let host = default_duplex_sponge();
        let state = gpu.upload(host.state(), "sponge").unwrap();
        let sponge = DeviceSponge { state, absorb_index: 0, sample_index: 0 };
        let tape = gpu.upload(&[F::ZERO; 2 * ROUND_WORDS as usize], "tape").unwrap();
        Self { sponge, tape, words: 0, host, expected: vec![] }
    }

    /// The end of a round whose evaluations ought to be these.
    fn step(&mut self, rec: &mut Recorder, (partials, count): (&DeviceBuffer<EF>, usize), evals: [EF; 2]) {
        round_step(rec, partials, count, &self.sponge.in_kernel(&self.tape, self.words)).unwrap();
        self.sponge.advance(8, 4);
        self.words += ROUND_WORDS as usize;
        evals.into_iter().for_each(|value| FiatShamirTranscript::<SC>::observe_ext(&mut self.host, value));
        self.expected.extend(evals);
        self.expected.push(FiatShamirTranscript::<SC>::sample_ext(&mut self.host));
    }
}

fn rotated(values: &[EF]) -> Vec<EF> {
    (0..values.len()).map(|x| values[(x + values.len() - 1) % values.len()]).collect()
}

fn eq_tables(rec: &mut Recorder, r: &[EF], low_bits: usize) -> CubeEqTables {
    let r_device = rec.gpu().upload(r, "r").unwrap();
    CubeEqTables::new(rec, &r_device, low_bits, r.len() - 1 - low_bits).unwrap()
}

#[test]
fn combinations_of_columns() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(2);
    // (log_height, views, offset, pitch, stride)
    for (log_height, views, offset, pitch, stride) in [
        (0, 1, 0, 1, 1),
        (0, 37, 3, 2, 1),
        (1, 5, 0, 8, 4),
        (3, 1025, 1, 8, 1),
        (5, 4, 0, 32, 1),
        (9, 31, 7, 600, 1),
        (9, 3, 0, 1024, 2),
        (12, 1, 1, 0, 1),
        (12, 9, 0, 4096, 1),
    ] {
        let rows = 1 << log_height;
        let cells = random(&mut rng, offset + views * pitch + rows * stride);
        let powers = random_exts(&mut rng, 2 * (views + 2));
        let source = gpu.upload(&cells, "cells").unwrap();
        let run = ColumnRun { source, offset, pitch, stride, log_height, first_view: 2, views };
        let lambda = LambdaPowers { powers: gpu.upload(&powers, "powers").unwrap() };
        let half = rows - rows / 2;
        let before = random_exts(&mut rng, half + rows + 3);
        let combined = gpu.upload(&before, "combined").unwrap();
        let mut rec = gpu.recorder("test");
        // of the first place one run; of the second two of one buffer and one of another
        let other = ColumnRun { source: gpu.upload(&cells, "cells").unwrap(), ..run.clone() };
        let (first, second) = (1, half + 2);
        let runs = [
            Combination { run: &run, rows: 0..rows, at: second },
            Combination { run: &run, rows: rows - half..rows, at: first },
            Combination { run: &other, rows: 0..rows, at: second },
            Combination { run: &run, rows: 0..rows, at: second },
        ];
        Combinations { lambda: &lambda, runs: &runs, combined: &combined }.record(&mut rec).unwrap();
        let at = |row: usize, c: usize| cells[offset + c * pitch + row * stride];
        let sum = |row: usize| (0..views).map(|c| powers[2 * (2 + c)] * at(row, c)).sum::<EF>();
        let mut expected = before;
        (0..half).for_each(|i| expected[first + i] = sum(rows - half + i));
        (0..rows).for_each(|row| expected[second + row] = sum(row) * F::from_u8(3));
        assert_eq!(read(rec, &combined), expected, "{log_height} {views}");
    }
}

#[test]
fn long_runs_are_cut_into_dispatches() {
    let source = testing::gpu().upload(&[F::ONE], "cells").unwrap();
    let run = ColumnRun { source, offset: 5, pitch: 3, stride: 1, log_height: 0, first_view: 7, views: 10 };
    let parts = |rows| -> Vec<_> { run.parts(rows).iter().map(|p| (p.offset, p.first_view, p.views)).collect() };
    assert_eq!(parts(1 << 25), [(5, 7, 8), (29, 15, 2)]);
    assert_eq!(parts(1 << 28), [(5, 7, 4), (17, 11, 4), (29, 15, 2)]);
    assert_eq!(parts(1), [(5, 7, 10)]);
}

#[test]
fn weights_of_cubes() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(3);
    let (l_skip, n) = (1, 9);
    let r = random_exts(&mut rng, 1 + n);
    let point_values = random_exts(&mut rng, 2 + 2 * 3);
    // (dimension, kind)
    let groups = [(9usize, 0usize), (9, 2), (6, 0), (5, 1), (1, 2), (0, 0), (0, 1)];
    let (mut words, mut expected) = (vec![7], vec![]);
    for (dimension, kind) in groups {
        words.extend([expected.len() as u32, dimension as u32, kind as u32]);
        let eq = evals_eq_hypercube(&r[1..1 + dimension]);
        let (alpha, beta) = (point_values[2 + 2 * kind], point_values[3 + 2 * kind]);
        expected.extend(eq.iter().zip(rotated(&eq)).map(|(e, rot)| alpha * *e + beta * rot));
    }
    for low_bits in [0, 4, 9] {
        let mut rec = gpu.recorder("test");
        let eq = eq_tables(&mut rec, &r, low_bits);
        let u = on_tape(&gpu, &[EF::ONE]);
        let domain = skip_domain(&gpu, l_skip).unwrap();
        let round0 = Round0Tables { l_skip, kinds: 3, skip_domain: &domain };
        let kind_weights = gpu.upload(&[EF::ZERO; 9], "weights").unwrap();
        let point = Point::new(&mut rec, &round0, &kind_weights, &u[0]).unwrap();
        let values = gpu.upload(&point_values, "point").unwrap();
        rec.copy((&values, 0), (&point.values, 0), point_values.len());
        let plan = gpu.upload(&words, "plan").unwrap();
        let cube = CubeTables::alloc(&gpu, expected.len()).unwrap();
        let (eq, point, plan, weights) = (&eq, &point, &plan, &cube.weights);
        CubeWeights { eq, point, plan, plan_at: 1, groups: groups.len(), weights }.record(&mut rec);
        assert_eq!(read(rec, &cube.weights), expected, "{low_bits}");
    }
}

#[test]
fn sums_over_the_hypercube() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(4);
    // (l_skip, log_height, low_bits, pieces)
    for (l_skip, log_height, low_bits, pieces) in [
        (0, 0, 0, 1),
        (3, 1, 2, 1),
        (2, 2, 0, 1),
        (4, 7, 5, 1),
        (2, 11, 3, 4),
        (0, 10, 0, 1),
        (1, 14, 9, 2),
        (8, 10, 1, 1),
        (9, 8, 0, 1),
        (9, 13, 2, 2),
    ] {
        let (n, log_z) = (usize::saturating_sub(log_height, l_skip), log_height.min(l_skip));
        let r = random_exts(&mut rng, 1 + n.max(low_bits));
        let q = random_exts(&mut rng, 1 << log_height);
        let mut rec = gpu.recorder("test");
        let eq = eq_tables(&mut rec, &r, low_bits);
        let domain = skip_domain(&gpu, l_skip).unwrap();
        let round0 = Round0Tables { l_skip, kinds: 1, skip_domain: &domain };
        let len = q.len() / pieces;
        let per_piece = round0.records_of(&eq, log_height, len);
        let records = gpu.alloc((pieces * per_piece) << (l_skip + 1), "records").unwrap();
        // the first two in one buffer, behind another element, the others in one each
        let together = gpu.upload(&[&[EF::TWO], &q[..len * pieces.min(2)]].concat(), "pieces").unwrap();
        let buffers: Vec<_> = q.chunks(len).map(|piece| gpu.upload(piece, "piece").unwrap()).collect();
        let piece = |i: usize| {
            let (combined, at) = if i < 2 { (&together, 1 + i * len) } else { (&buffers[i], 0) };
            CombinedPiece { combined, at, start: i * len, len, log_height, rot: true, record_at: i * per_piece }
        };
        let pieces: Vec<_> = (0..pieces).map(piece).collect();
        RecordSums { round0: &round0, eq: &eq, pieces: &pieces, records: &records }.record(&mut rec).unwrap();
        let found = read(rec, &records);
        let eq = evals_eq_hypercube(&r[1..1 + n]);
        for (part, weights) in [eq.clone(), rotated(&eq)].iter().enumerate() {
            for z in 0..1 << log_z {
                let sum: EF = (0..1 << n).map(|x| q[(x << log_z) + z] * weights[x]).sum();
                let records = found.chunks(2 << l_skip).map(|record| record[(part << l_skip) + z]);
                assert_eq!(records.sum::<EF>(), sum, "{l_skip} {log_height} {low_bits}: {part} {z}");
            }
        }
    }
}

/// The polynomial of degree below `values.len()` through the values on the subgroup of that order, at a point.
fn interpolate(values: &[EF], at: EF) -> EF {
    let log_z = values.len().ilog2() as usize;
    let points = F::two_adic_generator(log_z).powers();
    values.iter().zip(points).map(|(v, z)| *v * eval_eq_uni(log_z, at, EF::from(z))).sum()
}

/// Kinds of columns in round 0, and what the sums of their records are weighted with.
struct KindSums {
    l_skip: usize,
    /// Of each kind the number of records and log_z.
    kinds: [(usize, usize); 3],
    records: Vec<EF>,
    constants: Vec<EF>,
    lambda: EF,
}

impl KindSums {
    fn random(rng: &mut StdRng, l_skip: usize) -> Self {
        let size = 1usize << l_skip;
        let kinds = [(3, l_skip), (1, l_skip), ((300 / size).max(1), l_skip / 2)];
        let constants = random_exts(rng, kinds.len() * (2 * size + 1));
        let total: usize = kinds.iter().map(|k| k.0).sum();
        Self { l_skip, kinds, records: random_exts(rng, total * 2 * size), constants, lambda: random_exts(rng, 1)[0] }
    }

    /// First record, number of records and log_z of each kind.
    fn plan(&self) -> Vec<u32> {
        let mut first = 0;
        let words = self.kinds.iter().flat_map(|&(count, log_z)| {
            first += count;
            [first - count, count, log_z].map(|word| word as u32)
        });
        words.collect()
    }

    /// The factors of a kind's two sums at x.
    fn weights(&self, kind: usize, x: EF) -> [EF; 2] {
        let size = 1 << self.l_skip;
        let c = &self.constants[kind * (2 * size + 1)..(kind + 1) * (2 * size + 1)];
        let [f, g] = [&c[..size], &c[size..2 * size]].map(|c| horner_eval::<EF, EF, EF>(c, x));
        [f + self.lambda * g, self.lambda * c[2 * size] * x.powers().take(size).sum::<EF>()]
    }

    /// s_0(z) by definition.
    fn value(&self, z: EF) -> EF {
        let (size, mut first) = (1 << self.l_skip, 0);
        let mut value = EF::ZERO;
        for (k, &(count, log_z)) in self.kinds.iter().enumerate() {
            let sum = |at: usize| (first..first + count).map(|i| self.records[2 * size * i + at]).sum::<EF>();
            // strided values stand for zeros between: the indicator's polynomial times the short one
            let polynomial = |part: usize| {
                let values: Vec<EF> = (0..1 << log_z).map(|i| sum(part * size + i)).collect();
                let short = self.l_skip - log_z;
                let indicator: EF = (0..1u64 << short).map(|j| z.exp_u64(j << log_z)).sum();
                interpolate(&values, z) * indicator.div_2exp_u64(short as u64)
            };
            let [weight, turn] = self.weights(k, z);
            value += weight * polynomial(0) + turn * polynomial(1);
            first += count;
        }
        value
    }
}

#[test]
fn polynomial_of_round_0_and_its_point() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(5);
    for l_skip in [0, 1, 3, 6, 7, 8, 9] {
        let size = 1usize << l_skip;
        let sums = KindSums::random(&mut rng, l_skip);
        let [u_0, z] = random_exts(&mut rng, 2).try_into().unwrap();
        let challenges = on_tape(&gpu, &[sums.lambda, u_0]);
        let domain = skip_domain(&gpu, l_skip).unwrap();
        let round0 = Round0Tables { l_skip, kinds: sums.kinds.len(), skip_domain: &domain };
        let upload = |values: &[EF]| gpu.upload(values, "values").unwrap();
        let plan = gpu.upload(&sums.plan(), "plan").unwrap();
        let mut rec = gpu.recorder("test");
        let polynomial = Polynomial0 {
            round0: &round0,
            lambda: &challenges[0],
            plan: &plan,
            records: &upload(&sums.records),
            constants: &upload(&sums.constants),
        };
        let (s_0, kind_weights) = polynomial.record(&mut rec).unwrap();
        let point = Point::new(&mut rec, &round0, &kind_weights, &challenges[1]).unwrap();
        let elements = random_exts(&mut rng, 5 * size);
        let folded = upload(&[EF::ONE; 7]);
        let (combined, rows) = (&upload(&elements), elements.len());
        FoldCombined { point: &point, combined, rows, folded: &folded, at: 1 }.record(&mut rec);
        let tickets = (rec.download(&s_0), rec.download(&point.values), rec.download(&folded));
        let done = rec.wait().unwrap();
        let (s_0, point) = (done.take(tickets.0).unwrap(), done.take(tickets.1).unwrap());

        for k in 0..sums.kinds.len() {
            assert_eq!(point[size + 2 * k..size + 2 * k + 2], sums.weights(k, u_0));
        }
        assert_eq!(s_0.len(), 2 * size - 1);
        assert_eq!(horner_eval::<EF, EF, EF>(&s_0, z), sums.value(z), "{l_skip}");
        let expected: Vec<EF> = elements.chunks(size).map(|prism| interpolate(prism, u_0)).collect();
        let folded = done.take(tickets.2).unwrap();
        assert_eq!((folded[0], &folded[1..6], folded[6]), (EF::ONE, expected.as_slice(), EF::ONE));
    }
}

#[test]
fn cube_rounds() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(6);
    // elements after the fold, of which paired
    for (len, paired) in [(1, 0), (2, 2), (3, 2), (512, 510), (514, 514), (1001, 6), (600_001, 600_000)] {
        let u = random_exts(&mut rng, 1)[0];
        let challenge = &on_tape(&gpu, &[u])[0];
        let (values, weights) = (random_exts(&mut rng, 2 * len), random_exts(&mut rng, 2 * len));
        let upload = |v: &[EF]| gpu.upload(v, "values").unwrap();
        let tables = CubeTables { values: upload(&values), weights: upload(&weights) };
        let next = CubeTables::alloc(&gpu, len).unwrap();
        let partials = gpu.alloc(PARTIAL_ELEMENTS, "partials").unwrap();
        let (f, k) = (fold(&values, u), fold(&weights, u));
        let mut steps = Steps::new(&gpu);
        let mut rec = gpu.recorder("test");
        let (tables, next, partials) = (&tables, &next, &partials);
        let count = CubeRound { tables, next, len, paired, fold: Some(challenge), partials }.record(&mut rec);
        steps.step(&mut rec, (partials, count), product_round(&f[..paired], &k[..paired]));
        let plain = CubeRound { tables, next, len: 2 * paired, paired: 2 * paired, fold: None, partials };
        let count = plain.record(&mut rec);
        let second = product_round(&values[..2 * paired], &weights[..2 * paired]);
        steps.step(&mut rec, (partials, count), second);
        let tickets = (rec.download(&next.values), rec.download(&next.weights), rec.download(&steps.tape));
        let done = rec.wait().unwrap();
        let tape: Vec<EF> = from_words(&done.take(tickets.2).unwrap());
        assert_eq!(tape, steps.expected, "{len}");
        assert!(done.take(tickets.0).unwrap() == f && done.take(tickets.1).unwrap() == k, "{len}");
    }
}

/// A run of columns in two, if there are as many, of which the second is the first in another buffer with the same cells.
fn in_two_runs(run: ColumnRun, gpu: &Gpu, cells: &[F]) -> Vec<ColumnRun> {
    let half = run.views / 2;
    if half == 0 {
        return vec![run];
    }
    let (source, offset) = (gpu.upload(cells, "cells").unwrap(), run.offset + half * run.pitch);
    let second =
        ColumnRun { source, offset, first_view: run.first_view + half, views: run.views - half, ..run.clone() };
    vec![ColumnRun { views: half, ..run }, second]
}

/// Openings of columns: `(l_skip, log_height, views, pitch factor, stride)`.
fn check_openings((l_skip, log_height, views, stride): (usize, usize, usize, usize), rng: &mut StdRng) {
    let gpu = testing::gpu();
    let n = log_height.saturating_sub(l_skip);
    let u = random_exts(rng, n);
    let challenges = on_tape(&gpu, &u);
    let domain = random_exts(rng, 1 << l_skip);
    let (offset, pitch) = (3, (stride << log_height) + 1);
    let cells = random(rng, offset + views * pitch);
    let mut rec = gpu.recorder("test");
    let point = gpu.upload(&domain, "point").unwrap();
    let weights = RowWeights::new(&mut rec, &challenges, &point, l_skip).unwrap();
    let partials = gpu.alloc((views + 1) << weights.log_blocks(), "partials").unwrap();
    let source = gpu.upload(&cells, "cells").unwrap();
    let run = ColumnRun { source, offset, pitch, stride, log_height, first_view: 4, views };
    let runs = in_two_runs(run, &gpu, &cells);
    CellDots { weights: &weights, runs: &runs.iter().collect::<Vec<_>>(), slot: 1, partials: &partials }
        .record(&mut rec)
        .unwrap();
    // the slot before belongs to a run of its own
    let plan = gpu.upload(&[9, 0, views as u32 + 2, 0, 1, 1, 1, 4, 1], "plan").unwrap();
    let lambda = LambdaPowers { powers: gpu.upload(&random_exts(rng, 2 * (views + 4)), "powers").unwrap() };
    let cube_weights = gpu.upload(&random_exts(rng, 2), "weights").unwrap();
    let nodes = NodeTables::alloc(&gpu, views + 3).unwrap();
    let sums = ViewSums {
        plan: &plan,
        plan_at: 1,
        runs: 2,
        slots: views + 1,
        log_blocks: weights.log_blocks(),
        lambda: &lambda,
        cube_weights: &cube_weights,
        partials: &partials,
        nodes: &nodes,
    };
    sums.record(&mut rec);
    let tickets = (rec.download(&nodes.values), rec.download(&nodes.weights));
    let tables = (rec.download(&lambda.powers), rec.download(&cube_weights));
    let done = rec.wait().unwrap();
    let eq = evals_eq_hypercube(&u);
    let short = l_skip.saturating_sub(log_height);
    let weight = |row: usize| domain[(row << short) % (1 << l_skip)] * eq[(row << short) >> l_skip];
    let opening =
        |c: usize| (0..1 << log_height).map(|row| weight(row) * cells[offset + c * pitch + row * stride]).sum::<EF>();
    let expected: Vec<EF> = (0..views).map(opening).collect();
    assert_eq!(done.take(tickets.0).unwrap()[1..1 + views], expected, "{l_skip} {log_height} {views}");
    let (powers, cube) = (done.take(tables.0).unwrap(), done.take(tables.1).unwrap());
    let expected: Vec<EF> = (0..views).map(|c| powers[2 * (4 + c)] * cube[1]).collect();
    assert_eq!(done.take(tickets.1).unwrap()[1..1 + views], expected);
}

#[test]
fn openings_of_columns() {
    let mut rng = StdRng::seed_from_u64(7);
    for shape in [
        (0, 0, 1, 1),
        (0, 0, 1030, 1),
        (3, 1, 5, 4),
        (3, 1, 700, 1),
        (2, 2, 3, 1),
        (4, 6, 67, 1),
        (2, 9, 33, 2),
        (0, 10, 5, 1),
        (4, 12, 4, 1),
        (4, 13, 5, 1),
        (0, 15, 1, 1),
        (5, 19, 2, 1),
    ] {
        check_openings(shape, &mut rng);
    }
}

/// The nodes of a round by definition, of `old` ones and those that are there before.
fn expected_nodes(commits: &[(usize, usize)], sum: bool, u: EF, old: &[EF], before: &[EF]) -> Vec<EF> {
    let (mut folds, mut nodes) = (fold(old, u).into_iter(), vec![]);
    for (views, count) in commits {
        nodes.extend_from_slice(&before[nodes.len()..nodes.len() + views]);
        nodes.extend(folds.by_ref().take(*count));
        if sum && (views + count) % 2 == 1 {
            nodes.push(EF::ZERO);
        }
    }
    nodes
}

/// Per commitment: views that end at this level, folds from the level before.
fn check_node_round(commits: &[(usize, usize)], sum: bool, rng: &mut StdRng) {
    let gpu = testing::gpu();
    let u = random_exts(rng, 1)[0];
    let challenge = &on_tape(&gpu, &[u])[0];
    let (mut words, mut nodes, mut sources) = (vec![1], 0, 0);
    for (views, folds) in commits {
        words.extend([nodes, nodes + views, nodes + views + folds, sources].map(|w| w as u32));
        nodes += if sum { (views + folds).next_multiple_of(2) } else { views + folds };
        sources += 2 * folds;
    }
    let [source, before] = [sources, nodes].map(|len| [0; 2].map(|_| random_exts(rng, len)));
    let expected = [0, 1].map(|i| expected_nodes(commits, sum, u, &source[i], &before[i]));
    let tables = |t: &[Vec<EF>; 2]| NodeTables {
        values: gpu.upload(&t[0], "values").unwrap(),
        weights: gpu.upload(&t[1], "weights").unwrap(),
    };
    let (source, next, plan) = (tables(&source), tables(&before), gpu.upload(&words, "plan").unwrap());
    let partials = gpu.alloc(PARTIAL_ELEMENTS, "partials").unwrap();
    let round = NodeRound {
        plan: &plan,
        plan_at: 1,
        commits: commits.len(),
        nodes,
        source: &source,
        next: &next,
        u: challenge,
        sum,
        partials: &partials,
        partial_at: 0,
    };
    let mut rec = gpu.recorder("test");
    let count = round.record(&mut rec);
    let mut steps = Steps::new(&gpu);
    if sum {
        steps.step(&mut rec, (&partials, count), product_round(&expected[0], &expected[1]));
    }
    let tickets = (rec.download(&next.values), rec.download(&next.weights), rec.download(&steps.tape));
    let done = rec.wait().unwrap();
    assert_eq!(done.take(tickets.0).unwrap(), expected[0], "{commits:?}");
    assert_eq!(done.take(tickets.1).unwrap(), expected[1], "{commits:?}");
    let tape: Vec<EF> = from_words(&done.take(tickets.2).unwrap());
    assert_eq!(tape[..steps.expected.len()], steps.expected, "{commits:?}");
}

#[test]
fn node_rounds() {
    let mut rng = StdRng::seed_from_u64(8);
    let cases: [&[(usize, usize)]; 6] = [
        &[(1, 0)],
        &[(0, 1)],
        &[(3, 2), (0, 0), (2, 0), (0, 5)],
        &[(0, 0), (700, 33)],
        &[(0, 300), (1, 300), (600_000, 1)],
        &[(1, 1); 41],
    ];
    for commits in cases {
        check_node_round(commits, true, &mut rng);
        check_node_round(commits, false, &mut rng);
    }
}
