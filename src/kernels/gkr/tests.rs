//! The kernels against their formulas. `rounds.wgsl` speaks to the transcript, so the stage's tests cover it against upstream.

use openvm_stark_backend::prover::{fractional_sumcheck_gkr::Frac, poly::evals_eq_hypercube};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::gpu::{testing, Recorder};

fn random_exts(len: usize, seed: u64) -> Vec<EF> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| EF::from_basis_coefficients_fn(|_| F::from_u32(rng.random()))).collect()
}

fn random_fractions(log_len: usize, seed: u64) -> Vec<Frac<EF>> {
    random_exts(2 << log_len, seed).chunks(2).map(|c| Frac { p: c[0], q: c[1] }).collect()
}

fn upload(gpu: &Gpu, fractions: &[Frac<EF>]) -> Fractions {
    let all = Fractions::alloc(gpu, fractions.len().ilog2() as usize).unwrap();
    let piece_len = all.piece_len();
    let pieces = |values: Vec<EF>| values.chunks(piece_len).map(|c| gpu.upload(c, "fractions").unwrap()).collect();
    Fractions {
        numer: pieces(fractions.iter().map(|f| f.p).collect()),
        denom: pieces(fractions.iter().map(|f| f.q).collect()),
        ..all
    }
}

fn download(mut rec: Recorder, fractions: &Fractions) -> Vec<Frac<EF>> {
    let tickets = |rec: &mut Recorder, pieces: &[DeviceBuffer<EF>]| pieces.iter().map(|b| rec.download(b)).collect();
    let (numer, denom): (Vec<_>, Vec<_>) = (tickets(&mut rec, &fractions.numer), tickets(&mut rec, &fractions.denom));
    let done = rec.wait().unwrap();
    let p = numer.into_iter().flat_map(|t| done.take(t).unwrap());
    let q: Vec<EF> = denom.into_iter().flat_map(|t| done.take(t).unwrap()).collect();
    p.zip(q).map(|(p, q)| Frac { p, q }).collect()
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
fn levels_are_sums_of_neighbours() {
    let gpu = testing::gpu();
    for (log_len, rise) in [(0, 0), (1, 1), (3, 3), (5, 2), (11, 1), (12, 3)] {
        let leaves = random_fractions(log_len, 1);
        let mut rec = gpu.recorder("test");
        let level = raise(&mut rec, &upload(&gpu, &leaves), rise).unwrap();
        let what = format!("2^{log_len} leaves, rise {rise}");
        assert_fractions(&download(rec, &level), &host_raise(&leaves, rise), &what);
    }
}

#[test]
fn the_heap_takes_a_level_at_its_place() {
    let gpu = testing::gpu();
    for (log_len, top) in [(1, 1), (4, 4), (10, 9), (12, 9)] {
        let leaves = random_fractions(log_len, 2);
        let heap = Heap::alloc(&gpu, top).unwrap();
        let mut rec = gpu.recorder("test");
        heap.fill_top(&mut rec, &upload(&gpu, &leaves));
        let whole = Fractions { log_len: top + 1, numer: vec![heap.numer.clone()], denom: vec![heap.denom.clone()] };
        let found = download(rec, &whole);
        assert_fractions(&found[1 << top..], &host_raise(&leaves, log_len - top), "heap");
    }
}

/// Challenges with the layer's point, as the host knows them.
struct Challenges {
    lambda: EF,
    r0: EF,
    r1: EF,
    xi: Vec<EF>,
}

fn challenges(gpu: &Gpu, layer: usize) -> (Challenges, GkrState) {
    let values = random_exts(4 + 2 * GkrState::MAX_VARS, layer as u64);
    let point = GkrState::point(layer);
    let xi = values[point..point + layer].to_vec();
    let host = Challenges { lambda: values[0], r0: values[2], r1: values[3], xi };
    (host, GkrState { buffer: gpu.upload(&values, "state").unwrap() })
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
    (0..9).map(|k| eq.iter().enumerate().map(|(y, w)| *w * product(y, k % 3, k / 3)).sum()).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Variables of the table that is summed.
    vars: usize,
    /// Its first variable among the layer's.
    first: usize,
    rise: usize,
    raw: bool,
    fold: bool,
}

fn check_pass(case: Case) {
    let gpu = testing::gpu();
    let layer = case.first + case.vars;
    let (host, state) = challenges(&gpu, layer);
    let source = random_fractions(case.vars + 1 + case.rise + if case.fold { 2 } else { 0 }, 3);
    let mut rec = gpu.recorder("test");
    let eq = EqTables::build(&mut rec, &state, layer).unwrap();
    let table = Table { fractions: upload(&gpu, &source), rise: case.rise, raw: case.raw };
    let pass = SumPass { table: &table, first: case.first, eq: &eq, state: &state };
    let expected = host_table(&source, &case, &host);
    let sums = if case.fold {
        let (folded, sums) = pass.fold_and_sum(&mut rec).unwrap();
        let mut copy = gpu.recorder("test");
        std::mem::swap(&mut copy, &mut rec);
        assert_fractions(&download(copy, &folded.fractions), &expected, &format!("{case:?}"));
        sums
    } else {
        pass.sum(&mut rec).unwrap()
    };
    let ticket = rec.download(&sums.buffer);
    let partials = rec.wait().unwrap().take(ticket).unwrap();
    let found: Vec<EF> = (0..9).map(|k| partials.iter().skip(k).step_by(9).copied().sum()).collect();
    let weights = evals_eq_hypercube(&host.xi[case.first + 2..]);
    assert_eq!(found, host_sums(&expected, &weights), "{case:?}");
}

#[test]
fn passes_sum_raw_levels() {
    for (vars, rise) in [(2, 0), (3, 1), (4, 2), (8, 0), (9, 1), (11, 2), (13, 0)] {
        check_pass(Case { vars, first: 0, rise, raw: true, fold: false });
    }
}

#[test]
fn passes_fold_two_variables() {
    for (vars, rise) in [(2, 0), (3, 2), (6, 1), (8, 0), (9, 2), (11, 0)] {
        check_pass(Case { vars, first: 2, rise, raw: true, fold: true });
        check_pass(Case { vars, first: 4, rise: 0, raw: false, fold: true });
    }
}
