//! Which columns a program reads, and where they lie in a tile.
//!
//! A *tile* is one device buffer of `columns x rows` values, column-major
//! (`tile[column * stride + row]`), that a stage fills and a program reads: words of F on the cosets
//! of round 0 and on the trace (GKR input), words of EF in the MLE rounds.

use std::collections::HashMap;

use openvm_stark_backend::keygen::types::StarkVerifyingParams;

/// A column that a constraint can name. The derived order is the order of columns in every
/// [`TileLayout`]: selectors, then part by part its local columns, then its rotated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileColumn {
    /// Selector: 1 on the first row of the trace, else 0.
    IsFirstRow,
    /// Selector: 0 on the last row of the trace, else 1.
    IsTransition,
    /// Selector: 1 on the last row of the trace, else 0.
    IsLastRow,
    /// Column `col` of the preprocessed trace, of the next row if `rot`.
    Preprocessed {
        /// Next row (cyclically) instead of this one.
        rot: bool,
        /// Column of the matrix.
        col: u32,
    },
    /// Column `col` of main part `part` (cached mains in order, then the common main).
    Main {
        /// Index into the cached mains followed by the common main.
        part: u32,
        /// Next row (cyclically) instead of this one.
        rot: bool,
        /// Column of the matrix.
        col: u32,
    },
}

impl TileColumn {
    /// The three selectors in tile order, which is upstream's `[is_first, is_transition, is_last]`.
    pub const SELECTORS: [Self; 3] = [Self::IsFirstRow, Self::IsTransition, Self::IsLastRow];

    /// The matrix, rotation and column that this names, or `None` for a selector.
    pub fn source(self) -> Option<(PartSource, bool, u32)> {
        match self {
            Self::IsFirstRow | Self::IsTransition | Self::IsLastRow => None,
            Self::Preprocessed { rot, col } => Some((PartSource::Preprocessed, rot, col)),
            Self::Main { part, rot, col } => Some((PartSource::Main(part), rot, col)),
        }
    }

    fn of_part(source: PartSource, rot: bool, col: u32) -> Self {
        match source {
            PartSource::Preprocessed => Self::Preprocessed { rot, col },
            PartSource::Main(part) => Self::Main { part, rot, col },
        }
    }
}

/// A trace matrix of an AIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartSource {
    /// The preprocessed trace.
    Preprocessed,
    /// Main part: cached mains in order, then the common main.
    Main(u32),
}

/// Widths of an AIR's trace matrices, in upstream's `view_mats` order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartWidths {
    /// Width of the preprocessed trace, if there is one.
    pub preprocessed: Option<usize>,
    /// Widths of the cached mains in order, then of the common main (which may be 0).
    pub main: Vec<usize>,
    /// Whether any constraint or interaction reads the next row.
    pub need_rot: bool,
}

impl From<&StarkVerifyingParams> for PartWidths {
    fn from(params: &StarkVerifyingParams) -> Self {
        let mut main = params.width.cached_mains.clone();
        main.push(params.width.common_main);
        Self { preprocessed: params.width.preprocessed, main, need_rot: params.need_rot }
    }
}

impl PartWidths {
    /// Every matrix with its width, preprocessed first.
    pub fn parts(&self) -> impl Iterator<Item = (PartSource, usize)> + '_ {
        let preprocessed = self.preprocessed.map(|w| (PartSource::Preprocessed, w));
        let main = self.main.iter().enumerate();
        preprocessed.into_iter().chain(main.map(|(part, &w)| (PartSource::Main(part as u32), w)))
    }

    /// Width of `source`, or 0 if the AIR has no such matrix.
    pub fn width(&self, source: PartSource) -> usize {
        match source {
            PartSource::Preprocessed => self.preprocessed.unwrap_or(0),
            PartSource::Main(part) => self.main.get(part as usize).copied().unwrap_or(0),
        }
    }
}

/// Maps each [`TileColumn`] to its index in a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileLayout {
    columns: Vec<TileColumn>,
    index: HashMap<TileColumn, u32>,
}

impl TileLayout {
    /// Only the given columns (duplicates allowed): what round 0 and the GKR input fill.
    pub fn used(columns: impl IntoIterator<Item = TileColumn>) -> Self {
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort_unstable();
        columns.dedup();
        Self::from_sorted(columns)
    }

    /// All columns: the three selectors, then each matrix of upstream's `view_mats` order, its local
    /// columns followed (if `need_rot`) by its rotated ones. What the MLE rounds fold.
    pub fn full(widths: &PartWidths) -> Self {
        let mut columns = TileColumn::SELECTORS.to_vec();
        let rotations: &[bool] = if widths.need_rot { &[false, true] } else { &[false] };
        for (source, width) in widths.parts() {
            for &rot in rotations {
                columns.extend((0..width as u32).map(|c| TileColumn::of_part(source, rot, c)));
            }
        }
        Self::from_sorted(columns)
    }

    fn from_sorted(columns: Vec<TileColumn>) -> Self {
        debug_assert!(columns.is_sorted());
        let index = columns.iter().zip(0..).map(|(&c, i)| (c, i)).collect();
        Self { columns, index }
    }

    /// Number of columns of the tile.
    pub fn num_columns(&self) -> usize {
        self.columns.len()
    }

    /// The columns in tile order.
    pub fn columns(&self) -> &[TileColumn] {
        &self.columns
    }

    /// Tile column of `column`, or `None` if the layout does not hold it.
    pub fn index(&self, column: TileColumn) -> Option<u32> {
        self.index.get(&column).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main(part: u32, rot: bool, col: u32) -> TileColumn {
        TileColumn::Main { part, rot, col }
    }

    #[test]
    fn full_layout_follows_view_mats() {
        let widths = PartWidths { preprocessed: Some(2), main: vec![1, 0, 3], need_rot: true };
        let layout = TileLayout::full(&widths);
        assert_eq!(layout.num_columns(), 3 + 2 * (2 + 1 + 3));
        assert_eq!(layout.columns()[..3], TileColumn::SELECTORS);
        // where each matrix begins, local columns before rotated ones; the part without columns has no place
        let preprocessed = |rot| TileColumn::Preprocessed { rot, col: 0 };
        let first = [
            preprocessed(false),
            preprocessed(true),
            main(0, false, 0),
            main(0, true, 0),
            main(2, false, 0),
            main(2, true, 0),
        ];
        assert_eq!(first.map(|column| layout.index(column)), [3, 5, 7, 8, 9, 12].map(Some));
        assert_eq!(layout.index(TileColumn::Preprocessed { rot: true, col: 0 }), Some(5));
        assert_eq!(layout.index(main(2, true, 2)), Some(14));
        assert_eq!(layout.index(main(1, false, 0)), None);

        let local = TileLayout::full(&PartWidths { need_rot: false, ..widths });
        assert_eq!(local.num_columns(), 3 + 6);
    }

    #[test]
    fn used_layout_sorts() {
        let read = [
            main(0, true, 4),
            main(0, false, 7),
            TileColumn::IsLastRow,
            main(0, false, 1),
            main(0, false, 2),
            main(0, true, 4),
            main(0, false, 3),
        ];
        let layout = TileLayout::used(read);
        let sorted = [1, 2, 3, 7].map(|col| main(0, false, col));
        assert_eq!(layout.columns()[0], TileColumn::IsLastRow);
        assert_eq!(layout.columns()[1..5], sorted);
        assert_eq!(layout.columns()[5..], [main(0, true, 4)]);
        assert_eq!(TileLayout::used([]).num_columns(), 0);
    }
}
