//! One sponge per row of a matrix, fed panel by panel (`wgsl/merkle/absorb.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};

use super::Panel;
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::poseidon2::{round_constants, RATE},
};

kernel! {
    /// Each row's sponge absorbs the columns of a panel
    struct Absorb("merkle/absorb.wgsl", workgroup = 128) {
        buffers { read panel: F, write digests: Digest, constant round_constants: F as RoundConstants }
        params { rows, first_row, first_state, rate_start, columns, column_stride, row_stride, position, flags }
    }
}

const FIRST: u32 = 1;
const LAST: u32 = 2;
const LOAD_RATE: u32 = 4;
const STORE_RATE: u32 = 8;

/// Permutations in one dispatch: 31 ms on an eight-core M1 (estimated by `tests/metal_watchdog.rs`).
const PERMUTATIONS: usize = 1 << 21;

/// The sponges of all rows of a matrix of known width. Only the capacity of each lives between panels: eight words, a digest's size.
pub struct RowSponges {
    /// Rows in power-of-two pieces that a binding holds; behind the capacities room for the rates, where a panel needs them.
    pieces: Vec<DeviceBuffer<Digest>>,
    piece_rows: usize,
    keeps_rate: bool,
    width: usize,
    absorbed: usize,
}

/// Digests of rows in pieces of `piece_rows`.
pub struct RowDigests {
    pub(super) pieces: Vec<DeviceBuffer<Digest>>,
    pub(super) piece_rows: usize,
}

impl RowSponges {
    /// Sponges for `rows` rows (a power of two) of `width` columns that come in panels of `panel_width` columns, the last one of fewer.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu, rows: usize, width: usize, panel_width: usize) -> Result<Self> {
        assert!(rows.is_power_of_two() && width > 0, "sponges for {rows} rows of {width} columns");
        // a panel that does not overwrite the whole rate needs what the permutation before left there
        let tail = width % panel_width.min(width);
        let keeps_rate =
            (panel_width < RATE && width > panel_width) || (width > panel_width && 0 < tail && tail < RATE);
        let digests_per_row = 1 + keeps_rate as usize;
        let piece_rows = rows.min(gpu.capabilities().segment_elements(RATE * digests_per_row));
        let pieces = (0..rows / piece_rows)
            .map(|_| gpu.alloc(piece_rows * digests_per_row, "row sponges"))
            .collect::<Result<_>>()?;
        Ok(Self { pieces, piece_rows, keeps_rate, width, absorbed: 0 })
    }

    /// Absorbs the next columns of all rows.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`] for the constants.
    pub fn absorb(&mut self, rec: &mut Recorder, panel: Panel<'_>) -> Result<()> {
        let constants = round_constants(rec.gpu())?;
        let rest = self.width.checked_sub(self.absorbed + panel.columns).expect("no more columns than announced");
        let position = self.absorbed % RATE;
        let mut flags = 0;
        flags |= if self.absorbed == 0 { FIRST } else { 0 };
        flags |= if rest == 0 { LAST } else { 0 };
        flags |= if self.keeps_rate && self.absorbed > 0 { LOAD_RATE } else { 0 };
        flags |= if self.keeps_rate && rest > 0 { STORE_RATE } else { 0 };
        let step = (PERMUTATIONS / panel.columns.div_ceil(RATE)).max(1 << 10).min(self.piece_rows);
        for (index, piece) in self.pieces.iter().enumerate() {
            for first_state in (0..self.piece_rows).step_by(step) {
                let rows = step.min(self.piece_rows - first_state);
                let kernel = Absorb {
                    panel: panel.words,
                    digests: piece,
                    round_constants: &constants,
                    rows: rows as u32,
                    first_row: (index * self.piece_rows + first_state) as u32,
                    first_state: first_state as u32,
                    rate_start: 2 * self.piece_rows as u32,
                    columns: panel.columns as u32,
                    column_stride: panel.column_stride as u32,
                    row_stride: panel.row_stride as u32,
                    position: position as u32,
                    flags,
                };
                rec.dispatch(&kernel, Grid::threads(rows));
            }
        }
        self.absorbed += panel.columns;
        Ok(())
    }

    /// The digests, once all columns are absorbed.
    pub fn finish(self) -> RowDigests {
        assert_eq!(self.absorbed, self.width, "columns absorbed");
        RowDigests { pieces: self.pieces, piece_rows: self.piece_rows }
    }
}
