use std::ops::Range;

/// Memory of one device buffer, shared between kernels.
pub struct Buffer {
    bytes: usize,
}

impl Buffer {
    /// A buffer of this many bytes (a multiple of 4), filled with a pattern: device memory is not zeroed.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Writes bytes at a byte offset.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let _ = (offset, bytes);
    }

    /// The bytes of a range.
    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        vec![0; range.len()]
    }

    /// Zeroes a range of bytes.
    pub fn fill_zero(&self, range: Range<usize>) {
        let _ = range;
    }

    /// Copies `bytes` bytes from offset `from` of `source` to offset `to` of this buffer.
    pub fn copy_from(&self, to: usize, source: &Buffer, from: usize, bytes: usize) {
        let _ = (to, source, from, bytes);
    }
}
