//! Every kernel of `wgsl/rap` against upstream's functions.

use std::ops::Range;

use openvm_stark_backend::{
    dft::Radix2BowersSerial,
    poly_common::{eval_eq_mle, eval_eq_sharp_uni, eval_eq_uni, horner_eval, UnivariatePoly},
    prover::{
        poly::evals_eq_hypercubes,
        sumcheck::{fold_mle_evals, fold_ple_evals},
        ColMajorMatrix,
    },
    FiatShamirTranscript,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, BabyBearPoseidon2Config as SC, EF, F};
use p3_dft::TwoAdicSubgroupDft;
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing, TwoAdicField};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{
    constraints::{PartSource, TileColumn, TileLayout},
    gpu::{from_words, testing, to_words, DeviceBuffer, DeviceMatrix, Gpu, Recorder, Segment},
    kernels::{
        pack::{Pack, PackedRun, PackedTrace},
        transcript::{Challenge, DeviceSponge},
    },
};

mod batching;

fn base(rng: &mut StdRng) -> F {
    F::from_u32(rng.random())
}

fn ext(rng: &mut StdRng) -> EF {
    EF::from_basis_coefficients_fn(|_| base(rng))
}

fn exts(rng: &mut StdRng, len: usize) -> Vec<EF> {
    (0..len).map(|_| ext(rng)).collect()
}

/// Runs `body` with a tape that holds `values` as challenges, and room for the rounds behind them.
fn with_challenges<R>(values: &[EF], body: impl FnOnce(&Gpu, &mut Recorder, &DeviceBuffer<F>, &[Challenge]) -> R) -> R {
    let gpu = testing::gpu();
    let mut words = to_words(values);
    words.resize(words.len() + 1024, F::TWO);
    let tape = gpu.upload(&words, "tape").unwrap();
    let challenges: Vec<_> = (0..values.len()).map(|i| Challenge::new(&tape, 4 * i)).collect();
    body(&gpu, &mut gpu.recorder("test"), &tape, &challenges)
}

/// Two matrices of an AIR (preprocessed and main) and a layout that reads some of their columns.
struct Traces {
    matrices: [Vec<F>; 2],
    height: usize,
    layout: TileLayout,
}

impl Traces {
    fn random(rng: &mut StdRng, height: usize, widths: [usize; 2]) -> Self {
        let matrices = widths.map(|width| (0..width * height).map(|_| base(rng)).collect());
        let mut columns = TileColumn::SELECTORS.to_vec();
        for rot in [false, true] {
            columns
                .extend((0..widths[0] as u32).filter(|c| c % 3 != 1).map(|col| TileColumn::Preprocessed { rot, col }));
            columns.extend((0..widths[1] as u32).filter(|c| c % 2 == 0).map(|col| TileColumn::Main {
                part: 0,
                rot,
                col,
            }));
        }
        Self { matrices, height, layout: TileLayout::used(columns) }
    }

    fn source(&self, gpu: &Gpu) -> TileSource {
        let device = self
            .matrices
            .each_ref()
            .map(|m| DeviceMatrix::upload(gpu, m, self.height, m.len() / self.height, "trace").unwrap());
        let mut planner = TilePlanner::new(gpu).unwrap();
        // another tile first, so that this one's entries start further on
        planner.add(&TileLayout::used([TileColumn::IsLastRow]), 4, |_| unreachable!());
        planner.add(&self.layout, self.height, |part| match part {
            PartSource::Preprocessed => (&device[0]).into(),
            PartSource::Main(_) => (&device[1]).into(),
        });
        planner.finish(gpu).unwrap().remove(1)
    }

    /// Row `row` of the lifted tile column.
    fn value(&self, column: TileColumn, row: usize) -> F {
        let row = row % self.height;
        let cell = |matrix: &[F], rot: bool, col: u32| {
            matrix[col as usize * self.height + (row + usize::from(rot)) % self.height]
        };
        match column {
            TileColumn::IsFirstRow => F::from_bool(row == 0),
            TileColumn::IsTransition => F::from_bool(row != self.height - 1),
            TileColumn::IsLastRow => F::from_bool(row == self.height - 1),
            TileColumn::Preprocessed { rot, col } => cell(&self.matrices[0], rot, col),
            TileColumn::Main { rot, col, .. } => cell(&self.matrices[1], rot, col),
        }
    }

    fn column(&self, column: TileColumn, rows: std::ops::Range<usize>) -> Vec<F> {
        rows.map(|row| self.value(column, row)).collect()
    }
}

/// Where a tile over F holds a value (`wgsl/rap/tile_at.wgsl`).
fn tile_at(column: usize, row: usize, columns: usize) -> usize {
    (row / 64 * columns + column) * 64 + row % 64
}

#[test]
fn trace_tiles() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(1);
    for (height, widths, rows) in [(1, [1, 1], 0..1), (8, [0, 5], 0..8), (256, [7, 9], 3..200), (1024, [3, 2], 1..2)] {
        let traces = Traces::random(&mut rng, height, widths);
        let source = traces.source(&gpu);
        let stride = rows.len().next_multiple_of(64);
        let tile = gpu.alloc::<F>(source.columns() * stride, "tile").unwrap();
        let mut rec = gpu.recorder("test");
        TraceTile { source: &source, rows: rows.clone(), tile: &tile, tile_at: 0, stride }.record(&mut rec);
        let ticket = rec.download(&tile);
        let found = rec.wait().unwrap().take(ticket).unwrap();
        for (c, &column) in traces.layout.columns().iter().enumerate() {
            let found: Vec<F> = (0..rows.len()).map(|r| found[tile_at(c, r, source.columns())]).collect();
            assert_eq!(found, traces.column(column, rows.clone()), "{column:?} of {height}");
        }
    }
}

#[test]
fn coset_tiles() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(2);
    let dft = Radix2BowersSerial;
    let cases = [
        (0, 1, [1, 1], 0..1, 2),
        (0, 8, [2, 3], 1..7, 1),
        (1, 2, [2, 1], 0..1, 3),
        (2, 2, [1, 2], 0..1, 1),
        (3, 1, [1, 1], 0..1, 2),
        (4, 1, [2, 1], 0..1, 2),
        (4, 2, [1, 2], 0..1, 1),
        (4, 4, [1, 1], 0..1, 2),
        (4, 8, [0, 5], 0..1, 3),
        (4, 16, [17, 1], 0..1, 1),
        (4, 64, [33, 20], 1..4, 2),
        (4, 1024, [3, 40], 5..60, 3),
        (4, 8192, [1, 2], 3..512, 2),
        (6, 256, [2, 2], 1..3, 2),
        (9, 2048, [2, 2], 1..4, 2),
        (9, 16, [1, 3], 0..1, 4),
    ];
    for (l_skip, height, widths, points, cosets) in cases {
        let traces = Traces::random(&mut rng, height, widths);
        let source = traces.source(&gpu);
        let (n, stride) = (1 << l_skip, ((points.len() * cosets) << l_skip).next_multiple_of(64));
        let tile = gpu.alloc::<F>(source.columns() * stride, "tile").unwrap();
        let mut rec = gpu.recorder("test");
        CosetTile { source: &source, points: points.clone(), l_skip, cosets, tile: &tile, tile_at: 0, stride }
            .record(&mut rec)
            .unwrap();
        let ticket = rec.download(&tile);
        let found = rec.wait().unwrap().take(ticket).unwrap();
        for (c, &column) in traces.layout.columns().iter().enumerate() {
            for (i, x) in points.clone().enumerate() {
                let coeffs = dft.idft(traces.column(column, x * n..(x + 1) * n));
                let shifts = F::GENERATOR.powers().skip(1).take(cosets);
                let expected: Vec<F> = shifts.flat_map(|shift| dft.coset_dft(coeffs.clone(), shift)).collect();
                let rows = i * cosets * n..(i + 1) * cosets * n;
                let found: Vec<F> = rows.map(|row| found[tile_at(c, row, source.columns())]).collect();
                assert_eq!(found, expected, "{column:?} at {x}, l_skip {l_skip}, height {height}");
            }
        }
    }
}

#[test]
fn folding_the_univariate_variable() {
    let mut rng = StdRng::seed_from_u64(3);
    for (l_skip, height, widths, points) in [
        (0, 4, [1, 2], 0..4),
        (1, 2, [1, 1], 0..1),
        (3, 2, [2, 3], 0..1),
        (4, 1024, [5, 40], 3..40),
        (9, 512, [1, 1], 0..1),
    ] {
        let traces = Traces::random(&mut rng, height, widths);
        let r_0 = ext(&mut rng);
        let lifted = height.max(1 << l_skip);
        let stride = points.len() + 1;
        let (found, basis) = with_challenges(&[r_0], |gpu, rec, _, r| {
            let source = traces.source(gpu);
            let lagrange = lagrange_basis(rec, &r[0], l_skip).unwrap();
            let tile = gpu.alloc::<EF>(source.columns() * stride, "tile").unwrap();
            PleFold {
                source: &source,
                points: points.clone(),
                l_skip,
                lagrange: &lagrange,
                tile: &tile,
                tile_at: 0,
                stride,
            }
            .record(rec);
            rec.submit().unwrap();
            (gpu.download(&tile).unwrap(), gpu.download(&lagrange).unwrap())
        });
        let omega = F::two_adic_generator(l_skip);
        let expected: Vec<EF> =
            omega.powers().take(1 << l_skip).map(|y| eval_eq_uni(l_skip, r_0, EF::from(y))).collect();
        assert_eq!(basis, expected);
        for (c, &column) in traces.layout.columns().iter().enumerate() {
            let matrix = ColMajorMatrix::new(traces.column(column, 0..lifted), 1);
            let folded = fold_ple_evals(l_skip, matrix.as_view().into(), false, r_0);
            assert_eq!(
                found[c * stride..][..points.len()],
                folded.values[points.clone()],
                "{column:?}, l_skip {l_skip}"
            );
        }
    }
}

/// The traces' tiles where their main parts are packed; another buffer of cells for the last of them.
fn packed_sources(gpu: &Gpu, rec: &mut Recorder, traces: &[Traces], l_skip: usize) -> Vec<TileSource> {
    let (mut planner, mut at) = (TilePlanner::new(gpu).unwrap(), 16);
    let lens = traces.iter().map(|t| (t.matrices[1].len() / t.height) << l_skip.max(t.height.ilog2() as usize));
    let cells = [0; 2].map(|_| gpu.alloc::<F>(lens.clone().sum::<usize>() + 16, "cells").unwrap());
    for (i, (traces, len)) in traces.iter().zip(lens.clone()).enumerate() {
        let [preprocessed, main] = traces
            .matrices
            .each_ref()
            .map(|m| DeviceMatrix::upload(gpu, m, traces.height, m.len() / traces.height, "trace").unwrap());
        let log_stride = l_skip.saturating_sub(traces.height.ilog2() as usize);
        let cells = &cells[usize::from(i + 1 == lens.len())];
        let run = |segment: &'_ Segment<F>| {
            let Range { start, end } = segment.columns;
            let [start, end] = [start, end].map(|column| at + ((column * traces.height) << log_stride));
            (segment.buffer.clone(), start..end)
        };
        for (source, run) in main.segments().iter().map(run) {
            Pack { runs: &[PackedRun { source: &source, cells: run, log_stride }], cells }.record(rec).unwrap();
        }
        let packed = PackedTrace { cells: cells.clone(), at, log_stride };
        at += len;
        planner.add(&traces.layout, traces.height, |part| match part {
            PartSource::Preprocessed => (&preprocessed).into(),
            PartSource::Main(_) => TracePart { matrix: &main, packed: Some(&packed) },
        });
    }
    planner.finish(gpu).unwrap()
}

/// Tiles of packed traces are those of the traces themselves: over all rows, on cosets, and with the univariate variable folded.
#[test]
fn tiles_of_packed_traces() {
    let mut rng = StdRng::seed_from_u64(8);
    for l_skip in [0, 2, 4] {
        let shapes =
            [(1024, [2, 40]), (64, [0, 5]), (16, [3, 17]), (16, [1, 2]), (8, [1, 3]), (4, [0, 1]), (2, [2, 2])];
        let traces = shapes.map(|(height, widths)| Traces::random(&mut rng, height, widths));
        with_challenges(&[ext(&mut rng)], |gpu, rec, _, r| {
            let lagrange = &lagrange_basis(rec, &r[0], l_skip).unwrap();
            let alone: Vec<_> = traces.iter().map(|traces| traces.source(gpu)).collect();
            let mut filled = vec![];
            for sources in [alone, packed_sources(gpu, rec, &traces, l_skip)] {
                let (mut base_end, mut ext_end) = (4, 3);
                let (mut tiles, mut folds) = (vec![], vec![]);
                for (i, source) in sources.iter().enumerate() {
                    let (points, cosets) = ((source.height() >> l_skip).max(1), 1 + i % 3);
                    let stride = source.height().max((points * cosets) << l_skip).next_multiple_of(64);
                    tiles.push(PlacedTile { source, tile_at: base_end, stride, cosets });
                    folds.push(PlacedTile { source, tile_at: ext_end, stride: points + 1, cosets });
                    base_end += source.columns() * stride + 4;
                    ext_end += source.columns() * (points + 1);
                }
                let base = [0; 2].map(|_| gpu.upload(&vec![F::TWO; base_end], "tile").unwrap());
                let folded = gpu.upload(&vec![EF::TWO; ext_end], "tile").unwrap();
                TraceTiles { tiles: &tiles, tile: &base[0] }.record(rec).unwrap();
                CosetTiles { tiles: &tiles, l_skip, tile: &base[1] }.record(rec).unwrap();
                PleFolds { tiles: &folds, l_skip, lagrange, tile: &folded }.record(rec).unwrap();
                rec.submit().unwrap();
                filled.push((base.map(|tile| gpu.download(&tile).unwrap()), gpu.download(&folded).unwrap()));
            }
            assert!(filled[0] == filled[1], "l_skip {l_skip}");
        });
    }
}

#[test]
fn folding_a_multilinear_variable() {
    let mut rng = StdRng::seed_from_u64(4);
    for (columns, rows, offset) in [(1, 1, 0), (3, 1, 5), (7, 128, 0), (300, 4, 4)] {
        let source = exts(&mut rng, columns * 2 * rows);
        let r = ext(&mut rng);
        let stride = offset + rows + 1;
        let found = with_challenges(&[r], |gpu, rec, _, challenge| {
            let folded = gpu.alloc::<EF>(columns * stride, "folded").unwrap();
            let fold = MleFold {
                columns,
                source_rows: 2 * rows,
                source: &gpu.upload(&source, "source").unwrap(),
                r: &challenge[0],
                folded: &folded,
                folded_at: 0,
                folded_rows: offset..offset + rows,
                folded_stride: stride,
            };
            fold_tile(rec, &fold);
            rec.submit().unwrap();
            gpu.download(&folded).unwrap()
        });
        let expected = fold_mle_evals(ColMajorMatrix::new(source, columns), r);
        for c in 0..columns {
            assert_eq!(found[c * stride + offset..][..rows], expected.values[c * rows..][..rows]);
        }
    }
}

#[test]
fn tables() {
    let mut rng = StdRng::seed_from_u64(5);
    let xi = exts(&mut rng, 13);
    let entries: Vec<[u32; 2]> = (0..70).map(|i| [rng.random::<u32>() >> 20, (i % 14).min(12)]).collect();
    with_challenges(&xi, |gpu, rec, _, challenges| {
        let device = gpu.upload(&xi, "xi").unwrap();
        let entry_buffer = gpu.upload(entries.as_flattened(), "entries").unwrap();
        let weights = eq_3b(rec, &device, 12, &entry_buffer).unwrap();
        let ranges = [0..0, 3..3, 2..3, 1..6, 0..13, 4..13];
        let trees = eq_trees(rec, &device, &ranges).unwrap();
        let beta = powers(rec, &challenges[2], 131).unwrap();
        let q = gpu.upload(&xi, "q").unwrap();
        place(rec, &challenges[5], (&q, 12));
        rec.submit().unwrap();
        for (entry, weight) in entries.iter().zip(gpu.download(&weights).unwrap()) {
            let first = entry[1] as usize;
            let bits: Vec<F> = (0..12 - first).map(|k| F::from_bool((entry[0] >> k) & 1 == 1)).collect();
            assert_eq!(weight, eval_eq_mle(&xi[first..12], &bits));
        }
        for (range, tree) in ranges.iter().zip(&trees) {
            let expected = evals_eq_hypercubes(range.len(), xi[range.clone()].iter().rev());
            let found = gpu.download(tree.buffer()).unwrap();
            assert_eq!(found[tree.level(0)..][..expected.len()], expected);
        }
        assert_eq!(gpu.download(&beta).unwrap(), xi[2].powers().take(131).collect());
        let q = gpu.download(&q).unwrap();
        assert_eq!((&q[..12], q[12]), (&xi[..12], xi[5]));
    });
}

#[test]
fn combining_polynomials_and_gathering_openings() {
    let gpu = testing::gpu();
    let mut rng = StdRng::seed_from_u64(7);
    for (count, len) in [(1, 1), (3, 61), (100, 130)] {
        let (weights, polys) = (exts(&mut rng, count + 1), exts(&mut rng, count * len));
        let mut rec = gpu.recorder("test");
        let (w, p) = (gpu.upload(&weights, "weights").unwrap(), gpu.upload(&polys, "polys").unwrap());
        let out = combine(&mut rec, &w, &p, len).unwrap();
        let lists = [(&p, vec![Some(0), None, Some(len as u32 - 1)]), (&w, vec![]), (&w, [None, Some(1)].repeat(70))];
        let openings = gather_openings(&mut rec, &lists).unwrap();
        rec.submit().unwrap();
        let expected: Vec<EF> =
            (0..len).map(|j| (0..count).map(|i| weights[i] * polys[i * len + j]).sum::<EF>()).collect();
        assert_eq!(gpu.download(&out).unwrap(), expected);
        let found = gpu.download(&openings).unwrap();
        assert_eq!(found[..3], [polys[0], EF::ZERO, polys[len - 1]]);
        assert_eq!(found.len(), 3 + lists[2].1.len());
        assert_eq!(found[4], weights[1]);
    }
}
