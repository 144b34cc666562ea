//! Tables that the rounds read: eq evaluations, Lagrange bases (`wgsl/rap/{eq_tree,eq_3b,lagrange,place}.wgsl`).

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::TwoAdicField;

use crate::{
    error::Result,
    gpu::{as_words, DeviceBuffer, Grid, Recorder},
    kernel,
    kernels::transcript::Challenge,
};

kernel! {
    /// Levels of trees of eq evaluations below one.
    struct GrowEqTrees("rap/eq_tree.wgsl", workgroup = 64) {
        buffers { read xi: EF, read trees: u32, write tree: EF }
        params { from_level, levels }
    }
}

kernel! {
    /// eq_3b[i] = eq(xi[first..end], bits of b)
    struct Eq3b("rap/eq_3b.wgsl", workgroup = 64) {
        buffers { read xi: EF, read entries: u32 as vec2<u32>, write eq_3b: EF }
        params { len, end }
    }
}

kernel! {
    /// lagrange[i] = eq_D(omega^i, r)
    struct Lagrange("rap/lagrange.wgsl", workgroup = 64) {
        buffers { read tape: F, write lagrange: EF }
        params { l_skip, omega, challenge }
    }
}

kernel! {
    /// target_values[at] = challenge
    struct PlaceChallenge("rap/place.wgsl", workgroup = 1) {
        buffers { read tape: F, write target_values: EF }
        params { at, challenge }
    }
}

/// The evaluations of `eq` on all hypercubes over the last coordinates of a point: level `k`, at element `2^k` of the tree, holds
/// `eq((x[n - k], .., x[n - 1]), y)` for `y` in `{0, 1}^k`, bit 0 of `y` belonging to `x[n - k]`.
///
/// These are the weights of the rows in round 0 (level `n`) and in MLE round `j` (level `n - j`).
#[derive(Clone)]
pub struct EqTree {
    trees: DeviceBuffer<EF>,
    at: usize,
    n: usize,
}

impl EqTree {
    /// The elements, to bind with [`EqTree::level`] as offset.
    pub fn buffer(&self) -> &DeviceBuffer<EF> {
        &self.trees
    }

    /// First element of level `k`.
    ///
    /// # Panics
    ///
    /// When there is no such level.
    pub fn level(&self, k: usize) -> usize {
        assert!(k <= self.n, "level {k} of {}", self.n);
        self.at + (1 << k)
    }
}

/// Levels that a thread of `wgsl/rap/eq_tree.wgsl` grows below its own: 30 values.
const EQ_TREE_LEVELS: usize = 4;

/// Builds the trees of the points `xi[range]`, all in one buffer.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub fn eq_trees(rec: &mut Recorder, xi: &DeviceBuffer<EF>, ranges: &[Range<usize>]) -> Result<Vec<EqTree>> {
    assert!(ranges.iter().all(|range| range.end <= xi.len()), "point past the end");
    let (mut words, mut len) = (vec![], 0);
    for range in ranges {
        words.push([len, range.len(), range.end].map(|word| word as u32));
        len += 2 << range.len();
    }
    let trees = rec.gpu().upload(words.as_flattened(), "trees of eq_xi")?;
    let tree = rec.gpu().alloc(len, "eq_xi")?;
    let most = ranges.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    for from in (0..most.max(1)).step_by(EQ_TREE_LEVELS) {
        let kernel =
            GrowEqTrees { xi, trees: &trees, tree: &tree, from_level: from as u32, levels: EQ_TREE_LEVELS as u32 };
        rec.dispatch(&kernel, Grid::threads(1 << from).batched(ranges.len()));
    }
    let place = |(range, words): (&Range<usize>, &[u32; 3])| EqTree {
        trees: tree.clone(),
        at: words[0] as usize,
        n: range.len(),
    };
    Ok(ranges.iter().zip(&words).map(place).collect())
}

/// `eq(xi[first..end], bits of b)` for each `[b, first]` of `entries`: the weight of an interaction in its AIR's sum.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub fn eq_3b(
    rec: &mut Recorder,
    xi: &DeviceBuffer<EF>,
    end: usize,
    entries: &DeviceBuffer<u32>,
) -> Result<DeviceBuffer<EF>> {
    assert!(end <= xi.len(), "point past the end");
    let len = entries.len() / 2;
    let eq_3b = rec.gpu().alloc(len, "eq_3b")?;
    rec.dispatch(&Eq3b { xi, entries, eq_3b: &eq_3b, len: len as u32, end: end as u32 }, Grid::threads(len));
    Ok(eq_3b)
}

/// The Lagrange basis of the skip domain D of `2^l_skip` elements at `r`.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub fn lagrange_basis(rec: &mut Recorder, r: &Challenge, l_skip: usize) -> Result<DeviceBuffer<EF>> {
    let lagrange = rec.gpu().alloc(1 << l_skip, "Lagrange basis")?;
    let kernel = Lagrange {
        tape: r.tape(),
        lagrange: &lagrange,
        l_skip: l_skip as u32,
        omega: as_words(&[F::two_adic_generator(l_skip)])[0],
        challenge: r.word(),
    };
    rec.dispatch(&kernel, Grid::threads(1 << l_skip));
    Ok(lagrange)
}

/// Sets element `at` of `target_values` to a challenge.
///
/// # Panics
///
/// When there is no such element.
pub fn place(rec: &mut Recorder, challenge: &Challenge, (target_values, at): (&DeviceBuffer<EF>, usize)) {
    assert!(at < target_values.len(), "element {at} of {}", target_values.len());
    let kernel = PlaceChallenge { tape: challenge.tape(), target_values, at: at as u32, challenge: challenge.word() };
    rec.dispatch(&kernel, Grid::workgroups(1));
}
