//! The kernels against their formulas. `rounds.wgsl` speaks to the transcript, so the stage's tests cover it against upstream.

use openvm_stark_backend::prover::{fractional_sumcheck_gkr::Frac, poly::evals_eq_hypercube};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::{
    gpu::{testing, to_words, Recorder},
    kernels::wgsl_constant,
};

fn random_exts(len: usize, seed: u64) -> Vec<EF> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect()
}

fn random_fractions(log_len: usize, seed: u64) -> Vec<Frac<EF>> {
    random_exts(2 << log_len, seed).chunks(2).map(|c| Frac { p: c[0], q: c[1] }).collect()
}

/// The same with numerators of the base field.
fn random_leaves(log_len: usize, seed: u64) -> Vec<Frac<EF>> {
    let base = |p: EF| EF::from(to_words(&[p])[0]);
    random_fractions(log_len, seed).into_iter().map(|f| Frac { p: base(f.p), ..f }).collect()
}

/// Stores the first `real_len` fractions, their numerators in the base field where all are of it.
fn upload(gpu: &Gpu, fractions: &[Frac<EF>], real_len: usize) -> Fractions {
    let log_len = fractions.len().ilog2() as usize;
    let fractions = &fractions[..real_len];
    let words = |f: &Frac<EF>| to_words(&[f.p]);
    let is_base = |f: &Frac<EF>| words(f)[1..] == [F::ZERO; 3];
    let (all, words): (_, Vec<F>) = if fractions.iter().all(is_base) {
        (Fractions::alloc_leaves(gpu, log_len, real_len).unwrap(), fractions.iter().map(|f| words(f)[0]).collect())
    } else {
        (Fractions::alloc_padded(gpu, log_len, real_len).unwrap(), fractions.iter().flat_map(words).collect())
    };
    let piece_len = all.piece_len();
    let piece_words = piece_len * if all.base_numerators { 1 } else { 4 };
    let denominators: Vec<EF> = fractions.iter().map(|f| f.q).collect();
    Fractions {
        numer: words.chunks(piece_words).map(|c| gpu.upload(c, "numerators").unwrap().cast()).collect(),
        denom: denominators.chunks(piece_len).map(|c| gpu.upload(c, "denominators").unwrap()).collect(),
        ..all
    }
}

fn download(mut rec: Recorder, fractions: &Fractions) -> Vec<Frac<EF>> {
    assert!(!fractions.base_numerators);
    let numer: Vec<_> = fractions.numer.iter().map(|b| rec.download(&b.cast::<EF>())).collect();
    let denom: Vec<_> = fractions.denom.iter().map(|b| rec.download(b)).collect();
    let done = rec.wait().unwrap();
    let p = numer.into_iter().flat_map(|t| done.take(t).unwrap());
    let q: Vec<EF> = denom.into_iter().flat_map(|t| done.take(t).unwrap()).collect();
    p.zip(q).map(|(p, q)| Frac { p, q }).collect()
}

/// Replaces the fractions from `real_len` on by padding.
fn pad(fractions: &mut [Frac<EF>], real_len: usize, alpha: EF) {
    fractions[real_len..].fill(Frac { p: EF::ZERO, q: alpha });
}

/// The state for a tree of `levels` levels with padding, alpha at word 4 of a tape.
fn padded(gpu: &Gpu, levels: usize) -> (GkrState, EF) {
    let values = random_exts(2, 9);
    let tape = gpu.upload(&values, "tape").unwrap().cast();
    let mut rec = gpu.recorder("test");
    let state = GkrState::padded(&mut rec, levels, &Challenge::new(&tape, 4)).unwrap();
    rec.submit().unwrap();
    (state, values[1])
}

fn host_raise(fractions: &[Frac<EF>], rise: usize) -> Vec<Frac<EF>> {
    let sum = |c: &[Frac<EF>]| c[1..].iter().fold(c[0], |a, b| a + *b);
    fractions.chunks(1 << rise).map(sum).collect()
}

fn assert_fractions(found: &[Frac<EF>], expected: &[Frac<EF>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert_eq!((a.p, a.q), (b.p, b.q), "fraction {i}: {what}");
    }
}

#[test]
fn the_state_is_laid_out_as_the_kernels_know_it() {
    let constant = |name| wgsl_constant(include_str!("../../../wgsl/gkr/state.wgsl"), name) as usize;
    let names = ["POINTS", "MAX_VARS", "PADDING", "STATE"];
    let expected = [GkrState::point(0), GkrState::MAX_VARS, GkrState::PADDING, GkrState::LEN];
    assert_eq!(names.map(constant), expected);
    assert_eq!(GkrState::point(1), GkrState::point(0) + GkrState::MAX_VARS);
}

#[test]
fn levels_are_sums_of_neighbours() {
    let gpu = testing::gpu();
    let full = [(0, 0), (1, 1), (3, 3), (5, 2), (11, 1), (12, 3)].map(|(log_len, rise)| (log_len, rise, 1 << log_len));
    for (log_len, rise, real_len) in full.into_iter().chain([(1, 1, 1), (4, 2, 9), (9, 3, 303), (11, 1, 1025)]) {
        for mut leaves in [random_fractions(log_len, 1), random_leaves(log_len, 1)] {
            let (state, alpha) = padded(&gpu, log_len + 3);
            pad(&mut leaves, real_len, alpha.exp_power_of_2(3));
            let mut rec = gpu.recorder("test");
            let level = raise(&mut rec, &upload(&gpu, &leaves, real_len), rise, &state).unwrap();
            let expected = &host_raise(&leaves, rise)[..real_len.div_ceil(1 << rise)];
            let what = format!("{real_len} of 2^{log_len} leaves, rise {rise}");
            assert_fractions(&download(rec, &level), expected, &what);
        }
    }
}

#[test]
fn the_heap_has_its_lowest_level_with_padding() {
    let gpu = testing::gpu();
    for (log_len, top, real_len) in [(1, 1, 2), (4, 4, 16), (10, 9, 1024), (12, 9, 4096), (3, 3, 5), (12, 9, 2049)] {
        let mut leaves = random_fractions(log_len, 2);
        let (state, alpha) = padded(&gpu, log_len);
        pad(&mut leaves, real_len, alpha);
        let mut rec = gpu.recorder("test");
        let heap = Heap::above(&mut rec, &upload(&gpu, &leaves, real_len), top, &state).unwrap();
        assert_eq!((heap.top(), heap.nodes.len()), (top, 4 << top));
        assert_fractions(&download(rec, &heap.level), &host_raise(&leaves, log_len - top), "heap");
    }
}

/// Challenges with the layer's point, as the host knows them.
struct Challenges {
    lambda: EF,
    r0: EF,
    r1: EF,
    alpha: EF,
    xi: Vec<EF>,
}

fn challenges(gpu: &Gpu, layer: usize) -> (Challenges, GkrState) {
    let mut values = random_exts(GkrState::LEN, layer as u64);
    let point = GkrState::point(layer);
    let xi = values[point..point + layer].to_vec();
    // a level that lies two above the leaves
    let (levels, alpha) = (layer + 3, values[GkrState::PADDING]);
    for k in 0..=levels {
        values[GkrState::PADDING + k] = alpha.exp_power_of_2(k);
    }
    let host = Challenges { lambda: values[0], r0: values[2], r1: values[3], alpha, xi };
    (host, GkrState { buffer: gpu.upload(&values, "state").unwrap(), levels, padded: true })
}

#[test]
fn eq_suffixes_are_products_of_two_entries() {
    let gpu = testing::gpu();
    for layer in [2, 3, 9, 12] {
        let (host, state) = challenges(&gpu, layer);
        let mut rec = gpu.recorder("test");
        let tables = EqTables::build(&mut rec, &state, layer).unwrap();
        let ticket = rec.download(&tables.buffer);
        let eq = rec.wait().unwrap().take(ticket).unwrap();
        for first in 2..=layer {
            let suffix = tables.suffix(first);
            let low = |y: usize| eq[suffix.low_at + y % (1 << suffix.low_vars)];
            let found: Vec<EF> =
                (0..1 << (layer - first)).map(|y| low(y) * eq[suffix.high_at + (y >> suffix.low_vars)]).collect();
            assert_eq!(found, evals_eq_hypercube(&host.xi[first..]), "layer {layer}, suffix from {first}");
        }
    }
}

fn fold(a: Frac<EF>, b: Frac<EF>, r: EF) -> Frac<EF> {
    Frac { p: a.p + r * (b.p - a.p), q: a.q + r * (b.q - a.q) }
}

/// The table that a pass sums: two fractions a point, folded where asked for, with lambda applied.
fn host_table(source: &[Frac<EF>], case: &Case, host: &Challenges) -> Vec<Frac<EF>> {
    let mut table = host_raise(source, case.rise);
    if case.fold {
        for r in [host.r0, host.r1] {
            table = table.chunks(4).flat_map(|c| [fold(c[0], c[2], r), fold(c[1], c[3], r)]).collect();
        }
    }
    if case.raw {
        table.iter_mut().step_by(2).for_each(|f| f.p += host.lambda * f.q);
    }
    table
}

/// G(u, v) at u + 3 v by its definition.
fn host_sums(table: &[Frac<EF>], eq: &[EF]) -> Vec<EF> {
    let at = |x: &dyn Fn(usize) -> EF, k: usize| match k {
        2 => x(1) - x(0),
        k => x(k),
    };
    let product = |y: usize, u: usize, v: usize| {
        let column = |side: usize, value: fn(&Frac<EF>) -> EF| {
            at(&|b| at(&|a| value(&table[2 * (4 * y + a + 2 * b) + side]), u), v)
        };
        column(0, |f| f.p) * column(1, |f| f.q) + column(1, |f| f.p) * column(0, |f| f.q)
    };
    let sums = (0..9).map(|k| eq.iter().enumerate().map(|(y, w)| *w * product(y, k % 3, k / 3)).sum());
    sums.chain([eq.iter().copied().sum()]).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Variables of the table that is summed.
    vars: usize,
    /// Its first variable among the layer's.
    first: usize,
    rise: usize,
    raw: bool,
    /// Numerators of the base field.
    base: bool,
    fold: bool,
    /// Stored fractions of the source, of 1024.
    real: usize,
}

impl Case {
    /// log2 of the source's length.
    fn log_len(&self) -> usize {
        self.vars + 1 + self.rise + if self.fold { 2 } else { 0 }
    }

    fn real_len(&self) -> usize {
        ((self.real << self.log_len()) / 1024).max(1)
    }

    /// Values y of the tail variables that are summed.
    fn real_tails(&self) -> usize {
        self.real_len().div_ceil(1 << (self.log_len() + 2 - self.vars))
    }

    fn source(&self, host: &Challenges, levels: usize) -> Vec<Frac<EF>> {
        let level = if self.raw { self.log_len() } else { self.first + self.vars + 1 };
        let random = if self.base { random_leaves } else { random_fractions };
        let mut source = random(self.log_len(), 3);
        let q = host.alpha.exp_power_of_2(levels - level);
        pad(&mut source, self.real_len(), q);
        if !self.raw {
            let even = self.real_len().next_multiple_of(2);
            source.iter_mut().skip(even).step_by(2).for_each(|f| f.p = host.lambda * q);
        }
        source
    }
}

fn check_pass(case: Case) {
    let gpu = testing::gpu();
    let layer = case.first + case.vars;
    let (host, state) = challenges(&gpu, layer);
    let source = case.source(&host, state.levels);
    let mut rec = gpu.recorder("test");
    let eq = EqTables::build(&mut rec, &state, layer).unwrap();
    let fractions = upload(&gpu, &source, case.real_len());
    let table = LayerTable { fractions, rise: case.rise, raw: case.raw, level: layer + 1 };
    let pass = SumPass { table: &table, first: case.first, eq: &eq, state: &state };
    let expected = host_table(&source, &case, &host);
    let sums = if case.fold {
        let (folded, sums) = pass.fold_and_sum(&mut rec).unwrap();
        let folded_rec = std::mem::replace(&mut rec, gpu.recorder("test"));
        let found = download(folded_rec, &folded.fractions);
        assert_fractions(&found, &expected[..8 * case.real_tails()], &format!("{case:?}"));
        sums
    } else {
        pass.sum(&mut rec).unwrap()
    };
    let ticket = rec.download(&sums.buffer);
    let partials = rec.wait().unwrap().take(ticket).unwrap();
    let found: Vec<EF> = (0..10).map(|k| partials.iter().skip(k).step_by(10).copied().sum()).collect();
    let weights = evals_eq_hypercube(&host.xi[case.first + 2..]);
    assert_eq!(found, host_sums(&expected, &weights[..case.real_tails()]), "{case:?}");
}

#[test]
fn passes_sum_raw_levels() {
    for (vars, rise) in [(2, 0), (3, 1), (4, 2), (8, 0), (9, 1), (11, 2), (13, 0)] {
        for real in [1024, 1000, 517] {
            for base in [false, true] {
                check_pass(Case { vars, first: 0, rise, raw: true, base, fold: false, real });
            }
        }
    }
}

#[test]
fn passes_fold_two_variables() {
    for (vars, rise) in [(2, 0), (3, 2), (6, 1), (8, 0), (9, 2), (11, 0)] {
        for real in [1024, 1001, 300] {
            for base in [false, true] {
                check_pass(Case { vars, first: 2, rise, raw: true, base, fold: true, real });
            }
            check_pass(Case { vars, first: 4, rise: 0, raw: false, base: false, fold: true, real });
        }
    }
}
