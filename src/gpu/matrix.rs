//! Column-major matrices in column segments.

use std::{ops::Range, sync::Arc};

use openvm_stark_backend::prover::MatrixDimensions;

use super::{buffer::DeviceBuffer, device::Gpu, element::Element, pool::size_class};
use crate::error::{Error, Result};

/// A column-major matrix on the device, as a list of segments of whole columns that a kernel can bind each.
///
/// One binding ends at 2 GiB on NVIDIA's Vulkan and at 128 MiB on lavapipe, so a matrix of a real trace does not fit one.
/// Cloning shares the memory. A matrix of height or width 0 has no segments.
pub struct DeviceMatrix<T> {
    height: usize,
    width: usize,
    segments: Arc<[Segment<T>]>,
    /// Why the upload failed, where the caller could not be told.
    failure: Option<Arc<Error>>,
}

/// Columns `columns` of a matrix: element (row, column) at `(column - columns.start) * height + row`.
pub struct Segment<T> {
    /// Which columns of the matrix.
    pub columns: Range<usize>,
    /// Their cells.
    pub buffer: DeviceBuffer<T>,
}

impl<T> Clone for DeviceMatrix<T> {
    fn clone(&self) -> Self {
        Self { height: self.height, width: self.width, segments: self.segments.clone(), failure: self.failure.clone() }
    }
}

impl<T: Element> DeviceMatrix<T> {
    /// Allocates a matrix with undefined contents.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    #[doc(hidden)]
    pub fn alloc(gpu: &Gpu, height: usize, width: usize, what: &str) -> Result<Self> {
        let segments = Self::split(gpu, height, width)
            .into_iter()
            .map(|columns| {
                let buffer = gpu.alloc(height * columns.len(), what)?;
                Ok(Segment { columns, buffer })
            })
            .collect::<Result<_>>()?;
        Ok(Self { height, width, segments, failure: None })
    }

    /// Uploads a column-major matrix; `values.len()` must be `height * width`.
    ///
    /// Outside of admissions waits for memory while proofs run or wait that will free some; see [`Gpu::admit`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::upload`].
    #[doc(hidden)]
    pub fn upload(gpu: &Gpu, values: &[T], height: usize, width: usize, what: &str) -> Result<Self> {
        assert_eq!(values.len(), height * width, "matrix dimensions");
        gpu.check_process()?;
        let segments = Self::split(gpu, height, width);
        let admission = gpu.admit_upload(Self::classes(&segments, height));
        let gpu = admission.as_ref().map_or_else(|| gpu.clone(), |admission| gpu.under(admission));
        let segments = segments
            .into_iter()
            .map(|columns| {
                let cells = &values[columns.start * height..columns.end * height];
                let cell = |at: usize| format!("row {} of column {}", at % height, columns.start + at / height);
                let buffer = gpu.upload_named(cells, what, cell)?;
                Ok(Segment { columns, buffer })
            })
            .collect::<Result<_>>()?;
        Ok(Self { height, width, segments, failure: None })
    }

    /// The whole matrix, column-major. For tests and debugging.
    ///
    /// # Errors
    ///
    /// What the device reports.
    #[doc(hidden)]
    pub fn download(&self, gpu: &Gpu) -> Result<Vec<T>> {
        let mut rec = gpu.recorder("matrix download");
        let tickets: Vec<_> = self.segments.iter().map(|s| rec.download(&s.buffer)).collect();
        let done = rec.wait()?;
        let mut values = Vec::with_capacity(self.height * self.width);
        for ticket in tickets {
            values.extend(done.take(ticket)?);
        }
        Ok(values)
    }

    /// Bytes of the pool that segments take.
    fn classes(segments: &[Range<usize>], height: usize) -> u64 {
        segments.iter().map(|columns| size_class((height * columns.len() * T::WORDS * 4) as u64)).sum()
    }

    fn split(gpu: &Gpu, height: usize, width: usize) -> Vec<Range<usize>> {
        if height == 0 || width == 0 {
            return vec![];
        }
        let column_bytes = (height * T::WORDS * 4) as u64;
        let per_segment = (gpu.capabilities().max_segment_bytes / column_bytes).max(1) as usize;
        (0..width).step_by(per_segment).map(|start| start..(start + per_segment).min(width)).collect()
    }
}

impl<T> DeviceMatrix<T> {
    /// Stands for a matrix that could not be uploaded, until [`DeviceMatrix::check`] tells.
    #[doc(hidden)]
    pub fn failed(height: usize, width: usize, error: Error) -> Self {
        Self { height, width, segments: Arc::new([]), failure: Some(Arc::new(error)) }
    }

    /// Whether the matrix is on the device.
    ///
    /// # Errors
    ///
    /// Why it is not.
    #[doc(hidden)]
    pub fn check(&self) -> Result<()> {
        self.failure.as_ref().map_or(Ok(()), |error| Err(Error::Deferred(error.clone())))
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The segments in column order.
    #[doc(hidden)]
    pub fn segments(&self) -> &[Segment<T>] {
        &self.segments
    }

    /// The segment that holds a column.
    ///
    /// # Panics
    ///
    /// When there is no such column.
    #[doc(hidden)]
    pub fn segment_of(&self, column: usize) -> &Segment<T> {
        assert!(column < self.width, "column {column} of {}", self.width);
        let at = self.segments.partition_point(|s| s.columns.end <= column);
        &self.segments[at]
    }
}

impl<T> MatrixDimensions for DeviceMatrix<T> {
    fn height(&self) -> usize {
        self.height
    }

    fn width(&self) -> usize {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    #[test]
    fn matrices_come_back_as_they_went() {
        let gpu = testing::gpu();
        for (height, width) in [(0, 3), (1, 1), (1, 5000), (8, 0), (1024, 3), (2048, 7), (64, 129), (1 << 18, 5)] {
            let values: Vec<u32> = (0..(height * width) as u32).collect();
            let matrix = DeviceMatrix::upload(&gpu, &values, height, width, "test").unwrap();
            assert_eq!((matrix.height(), matrix.width()), (height, width));
            assert_eq!(matrix.download(&gpu).unwrap(), values);
            for column in 0..if height == 0 { 0 } else { width } {
                assert!(matrix.segment_of(column).columns.contains(&column));
            }
        }
    }
}
