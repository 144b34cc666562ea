//! The counts that a proof's memory depends on.

/// Counts summed over AIRs. Traces lower than the skip domain count with its height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProofShape {
    /// Cells of all parts of AIRs that open the next row, preprocessed and cached ones included.
    pub cells_with_rot: u64,
    /// Cells of all parts of the others.
    pub cells_without_rot: u64,
    /// Interactions, for each row.
    pub interactions: u64,
    /// Rows.
    pub rows: u64,
}

impl ProofShape {
    /// Cells of all parts.
    pub fn cells(&self) -> u64 {
        self.cells_with_rot + self.cells_without_rot
    }

    /// Cells of the columns that constraints read: a rotation is one more, and each AIR has three selectors.
    pub fn tile_cells(&self) -> u64 {
        self.cells() + self.cells_with_rot + 3 * self.rows
    }
}
