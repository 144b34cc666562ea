//! Row-major traces become columns on the device (`wgsl/transpose.wgsl`).

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, DeviceMatrix, Gpu, Grid, Recorder, Segment},
    kernel,
};

kernel! {
    /// out[first_out + c * height + r] = values[r * row_len + skip + c]
    struct Transpose("transpose.wgsl", workgroup = 256) {
        buffers { read values: F, write out: F }
        params { rows, columns, row_len, skip, height, first_out, column_tiles }
    }
}

/// Rows and columns of a tile.
const TILE: usize = 32;

/// Elements uploaded at a time (64 MiB, or a segment where that is smaller): enough for full speed, little beside a trace.
const PIECE: usize = 16 << 20;

/// A part of a row-major matrix that is contiguous: whole rows, or some columns of one.
struct RowPiece {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Uploads a row-major matrix of `width` columns; returns it column-major.
///
/// The host only copies; the transposition is on its way when this returns.
///
/// # Errors
///
/// As [`Gpu::upload`]; [`Error::InvalidInput`] if `values` are not whole rows.
pub fn upload_row_major(gpu: &Gpu, values: &[F], width: usize, what: &str) -> Result<DeviceMatrix<F>> {
    let height = values.len().checked_div(width).unwrap_or(0);
    if values.len() != height * width {
        return Err(Error::InvalidInput(format!("{} cells are no rows of {width}", values.len())));
    }
    let matrix = DeviceMatrix::alloc(gpu, height, width, what)?;
    let limit = PIECE.min(gpu.capabilities().max_segment_bytes as usize / size_of::<F>());
    for piece in pieces(height, width, limit) {
        let first = piece.rows.start * width + piece.columns.start;
        let cells = &values[first..first + piece.rows.len() * piece.columns.len()];
        let cell = |at: usize| format!("row {} of column {}", (first + at) / width, (first + at) % width);
        let uploaded = gpu.upload_named(cells, what, cell)?;
        let mut rec = gpu.recorder("transpose");
        for segment in matrix.segments() {
            transpose(&mut rec, &piece, &uploaded, segment, height);
        }
        rec.submit()?;
    }
    Ok(matrix)
}

/// Cuts a matrix into pieces of at most `limit` elements.
fn pieces(height: usize, width: usize, limit: usize) -> Vec<RowPiece> {
    let rows_at_once = limit.checked_div(width).unwrap_or(1).max(1);
    let columns_at_once = width.min(limit).max(1);
    let starts = (0..height)
        .step_by(rows_at_once)
        .flat_map(|row| (0..width).step_by(columns_at_once).map(move |column| (row, column)));
    let piece = |(row, column): (usize, usize)| RowPiece {
        rows: row..(row + rows_at_once).min(height),
        columns: column..(column + columns_at_once).min(width),
    };
    starts.map(piece).collect()
}

/// Moves what the piece has of the segment's columns.
fn transpose(rec: &mut Recorder, piece: &RowPiece, values: &DeviceBuffer<F>, segment: &Segment<F>, height: usize) {
    let first = piece.columns.start.max(segment.columns.start);
    let end = piece.columns.end.min(segment.columns.end);
    let columns = end.saturating_sub(first);
    let column_tiles = columns.div_ceil(TILE);
    let transpose = Transpose {
        values,
        out: &segment.buffer,
        rows: piece.rows.len() as u32,
        columns: columns as u32,
        row_len: piece.columns.len() as u32,
        skip: first.saturating_sub(piece.columns.start) as u32,
        height: height as u32,
        first_out: (first.saturating_sub(segment.columns.start) * height + piece.rows.start) as u32,
        column_tiles: column_tiles as u32,
    };
    rec.dispatch(&transpose, Grid::workgroups(column_tiles * piece.rows.len().div_ceil(TILE)));
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::prover::ColMajorMatrix;
    use p3_field::PrimeCharacteristicRing;
    use p3_matrix::dense::RowMajorMatrix;

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn rows_become_columns() {
        let gpu = testing::gpu();
        for (height, width) in
            [(0, 3), (4, 0), (1, 1), (1, 5000), (2, 31), (8, 33), (64, 32), (128, 1), (1024, 70), (1 << 15, 5)]
        {
            let values: Vec<F> = (0..height * width).map(F::from_usize).collect();
            let matrix = upload_row_major(&gpu, &values, width, "test").unwrap();
            let rows = RowMajorMatrix::new(values, width.max(1));
            if width > 0 {
                assert_eq!((matrix.height(), matrix.width()), (height, width));
                assert_eq!(matrix.download(&gpu).unwrap(), ColMajorMatrix::from_row_major(&rows).values);
            }
        }
    }

    #[test]
    fn half_a_row_is_an_error() {
        let error = upload_row_major(&testing::gpu(), &[F::ONE; 5], 2, "test").err();
        assert!(matches!(error, Some(Error::InvalidInput(_))));
    }

    #[test]
    fn pieces_cover_a_matrix_in_order() {
        for (height, width, limit) in [(0, 3, 5), (1, 1, 1), (7, 3, 6), (3, 10, 4), (5, 4, 4), (9, 2, 100)] {
            let covered = pieces(height, width, limit).into_iter().flat_map(|piece| {
                assert!(piece.rows.len() * piece.columns.len() <= limit);
                assert!(piece.columns.len() == width || piece.rows.len() == 1);
                piece.rows.flat_map(move |row| piece.columns.clone().map(move |column| row * width + column))
            });
            assert!(covered.eq(0..height * width));
        }
    }
}
