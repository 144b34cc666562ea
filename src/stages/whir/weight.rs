//! The weight of WHIR's sumcheck as a sum of products over the variables.

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Recorder},
    kernels::{
        eq::{Factors, Squarings},
        powers::powers,
        whir::{
            dots::{OutOfDomain, ProductWeight, ResidueDots},
            round::TermTable,
            rows::{dense_rows, DenseTerms, LastRound, NewPoints, PointRows, Points},
        },
    },
    stages::transcript::{Challenge, Observed},
};

/// The terms of the weight for the current f; their coefficients are in the sumcheck's table.
pub(super) struct Weight {
    k: usize,
    /// Variables at the start.
    m: usize,
    /// Variables that were folded already.
    folded: usize,
    /// Dense terms: eq(u, .), then the out-of-domain points.
    dense: usize,
    /// `[dense term][variable]`; an out-of-domain point has those that were left when it came.
    coordinates: DeviceBuffer<EF>,
    /// Inner products of f with the dense terms, `[term][2^k]`.
    dots: DeviceBuffer<EF>,
    points: Points,
}

impl Weight {
    /// The weight whose moments are `eq(u_cube, .)`, with its table.
    pub(super) fn initial(
        rec: &mut Recorder,
        u_cube: &DeviceBuffer<EF>,
        f: &DeviceBuffer<EF>,
        params: &SystemParams,
    ) -> Result<(Self, TermTable)> {
        let (k, m) = (params.k_whir(), u_cube.len());
        let coordinates = rec.gpu().alloc(params.num_whir_rounds() * m, "terms of the WHIR weight")?;
        rec.copy((u_cube, 0), (&coordinates, 0), m);
        let weights = &[ProductWeight { first: k, factors: Factors::Eq }];
        let dots = ResidueDots { f, k, coordinates: &coordinates, weights }.record(rec)?;
        let weight = Self { k, m, folded: 0, dense: 1, coordinates, dots, points: Points::none(rec)? };
        let table = TermTable::alloc(rec, 1, k)?;
        dense_rows(rec, &weight.dense_terms(), None, &table);
        Ok((weight, table))
    }

    /// Variables folded in a WHIR round.
    pub(super) fn k(&self) -> usize {
        self.k
    }

    /// Goes on to `g`, the folded f, and adds the out-of-domain point at `z_0`. Returns `g(pow(z_0))`.
    pub(super) fn add_point(
        &mut self,
        rec: &mut Recorder,
        z_0: &Challenge,
        g: &DeviceBuffer<EF>,
    ) -> Result<DeviceBuffer<EF>> {
        let (k, m) = (self.k, self.m);
        self.folded += k;
        let at = self.dense * m + self.folded;
        Squarings { x: z_0, len: m - self.folded, out: &self.coordinates, at }.record(rec);
        self.dense += 1;
        let high = |t: usize| ProductWeight { first: t * m + self.folded + k, factors: factors(t) };
        let weights: Vec<_> = (0..self.dense).map(high).collect();
        self.dots = ResidueDots { f: g, k, coordinates: &self.coordinates, weights: &weights }.record(rec)?;
        OutOfDomain { z: z_0, dots: &self.dots, at: (self.dense - 1) << k, len: 1 << k }.record(rec)
    }

    /// Adds the queried points and makes the table for the next `k` rounds of sumcheck, on the polynomial of the last
    /// [`Weight::add_point`], whose codeword this is. The low `bits` bits of the sampled `queries` are their indices.
    pub(super) fn next_table(
        &mut self,
        rec: &mut Recorder,
        last: LastRound<'_>,
        (queries, bits): (&Observed<F>, usize),
        codeword: &DeviceBuffer<EF>,
    ) -> Result<TermTable> {
        let count = queries.len();
        let gammas = powers(rec, last.gamma, count + 2)?;
        let table = TermTable::alloc(rec, self.dense + self.points.len() + count, self.k)?;
        dense_rows(rec, &self.dense_terms(), Some(last), &table);
        let new = NewPoints { codeword, queries, bits, gammas: &gammas };
        self.points = PointRows { new: &new, points: &self.points, last, table: &table }.record(rec)?;
        Ok(table)
    }

    fn dense_terms(&self) -> DenseTerms<'_> {
        DenseTerms {
            terms: self.dense,
            dots: &self.dots,
            coordinates: &self.coordinates,
            stride: self.m,
            first_variable: self.folded,
        }
    }
}

/// The moments of term `t`: eq(u, .) for the first, powers for the out-of-domain points.
fn factors(t: usize) -> Factors {
    if t == 0 {
        Factors::Eq
    } else {
        Factors::Monomial
    }
}
