//! What sums of constraint programs are by definition, for the tests of this module.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{ExtensionField, PrimeCharacteristicRing};

use super::RowKind;
use crate::constraints::{host::RowTables, Program, TileLayout};

/// What a summing program is evaluated on: so many row weights, and so many points for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    pub kind: RowKind,
    pub rows: usize,
    pub points: usize,
    /// The tile has one row, whose value every point takes.
    pub last: bool,
}

impl Domain {
    /// Hypercube points and points of the cosets.
    pub(super) fn points(rows: usize, points: usize) -> Self {
        Self { kind: RowKind::Points, rows, points, last: false }
    }

    /// Lines, and `X = 1..=points` on each.
    pub(super) fn lines(rows: usize, points: usize) -> Self {
        Self { kind: RowKind::Lines, rows, points, last: false }
    }

    /// A tile of one row.
    pub(super) fn one_row(points: usize) -> Self {
        Self { kind: RowKind::Lines, rows: 1, points, last: true }
    }

    /// Rows of the tile.
    pub(super) fn tile_rows(&self) -> usize {
        match self.kind {
            RowKind::Lines if self.last => 1,
            RowKind::Lines => 2 * self.rows,
            _ => self.rows * self.points,
        }
    }

    /// The value of a column for row weight `x` at point `p`.
    fn value<V: ExtensionField<F>>(&self, column: &[V], x: usize, p: usize) -> V {
        match self.kind {
            RowKind::Lines if self.last => column[0],
            RowKind::Lines => column[2 * x] + (column[2 * x + 1] - column[2 * x]) * V::from_usize(p + 1),
            _ => column[x * self.points + p],
        }
    }

    /// `sums[a * points + p] = sum over x of eq[x] * acc_a` for the columns of a tile, laid out as `layout`.
    pub(super) fn sums<V>(
        &self,
        (program, layout): (&Program, &TileLayout),
        tables: RowTables<'_, EF>,
        columns: &[Vec<V>],
        eq: &[EF],
    ) -> Vec<EF>
    where
        V: ExtensionField<F>,
        EF: ExtensionField<V>,
    {
        let mut sums = vec![EF::ZERO; program.num_accumulators as usize * self.points];
        for (x, eq_x) in eq.iter().enumerate() {
            for p in 0..self.points {
                let row: Vec<V> = columns.iter().map(|column| self.value(column, x, p)).collect();
                let found = program.eval_row(|column| row[layout.index(column).unwrap() as usize], tables);
                for (a, sum) in sums.chunks_mut(self.points).enumerate() {
                    sum[p] += *eq_x * found.acc[a];
                }
            }
        }
        sums
    }
}
