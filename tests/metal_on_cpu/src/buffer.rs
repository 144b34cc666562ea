use std::{
    alloc::{self, Layout},
    ffi::c_void,
    ops::Range,
    ptr::NonNull,
    slice,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// What the memory of a new buffer holds: a device's memory is not zeroed, and this is no field element.
const UNWRITTEN: u8 = 0xa5;
/// Bytes around a buffer that belong to no other: at least these, and as many as it has itself, so that check mode recognizes an index
/// that is wrong by less than that.
const GAP: usize = 64 << 10;
/// As wgpu aligns bindings.
const ALIGNMENT: usize = 256;

/// Memory of one device buffer, shared between kernels. The host waits for kernels that use it, and kernels for the host.
pub struct Buffer {
    allocation: NonNull<u8>,
    layout: Layout,
    /// Where the bytes are in the allocation; a gap is on either side.
    range: Range<usize>,
    /// Held by whoever reads or writes them.
    access: RwLock<()>,
}

// SAFETY: it is the only owner of its allocation
unsafe impl Send for Buffer {}
// SAFETY: the bytes are accessed under the lock
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of this many bytes, filled with a pattern: device memory is not zeroed.
    pub fn new(bytes: usize) -> Self {
        let buffer = Self::zeroed(bytes);
        buffer.with_bytes_mut(|memory| memory.fill(UNWRITTEN));
        buffer
    }

    /// A buffer of this many bytes, all zero, whose pages take no memory until somebody writes there.
    pub fn zeroed(bytes: usize) -> Self {
        let gap = GAP.max(bytes).next_multiple_of(ALIGNMENT);
        // aligned here, since the allocator writes the zeros itself where it has to align: the system's pages are zero
        let layout = Layout::array::<u8>(2 * gap + bytes + ALIGNMENT).expect("a size that fits memory");
        // SAFETY: the size is not 0
        let allocation = unsafe { alloc::alloc_zeroed(layout) };
        let allocation = NonNull::new(allocation).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        let start = gap + allocation.as_ptr().wrapping_add(gap).align_offset(ALIGNMENT);
        Self { allocation, layout, range: start..start + bytes, access: RwLock::new(()) }
    }

    /// A buffer with these words.
    pub fn from_words(words: &[u32]) -> Self {
        let buffer = Self::new(4 * words.len());
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        buffer.write(0, &bytes);
        buffer
    }

    /// All of its words.
    pub fn words(&self) -> Vec<u32> {
        let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("chunks of 4"));
        self.read(0..self.len()).chunks_exact(4).map(word).collect()
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Writes bytes at a byte offset.
    ///
    /// # Panics
    ///
    /// Past the end; as all methods.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.with_bytes_mut(|memory| memory[offset..offset + bytes.len()].copy_from_slice(bytes));
    }

    /// The bytes of a range.
    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        let _access = self.lock();
        // SAFETY: in the allocation, and initialized; nobody writes while the lock is held
        let bytes = unsafe { slice::from_raw_parts(self.pointer().cast::<u8>(), self.len()) };
        bytes[range].to_vec()
    }

    /// Copies `bytes` bytes from offset `from` of `source`, which may be this buffer, to offset `to` of this one.
    pub fn copy_from(&self, to: usize, source: &Buffer, from: usize, bytes: usize) {
        let copied = source.read(from..from + bytes);
        self.write(to, &copied);
    }

    /// Where the bytes are, for kernels.
    pub(crate) fn pointer(&self) -> *mut c_void {
        self.allocation.as_ptr().wrapping_add(self.range.start).cast()
    }

    pub(crate) fn lock(&self) -> RwLockReadGuard<'_, ()> {
        self.access.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn lock_mut(&self) -> RwLockWriteGuard<'_, ()> {
        self.access.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn with_bytes_mut(&self, f: impl FnOnce(&mut [u8])) {
        let _access = self.lock_mut();
        // SAFETY: in the allocation, and initialized; nobody else reads or writes while the lock is held
        f(unsafe { slice::from_raw_parts_mut(self.pointer().cast::<u8>(), self.len()) });
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout
        unsafe { alloc::dealloc(self.allocation.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies() {
        let (a, b) = (Buffer::from_words(&[1, 2, 3]), Buffer::new(8));
        assert_eq!((b.words(), Buffer::zeroed(8).words()), (vec![0xa5a5_a5a5; 2], vec![0; 2]));
        b.copy_from(4, &a, 8, 4);
        assert_eq!(b.words(), [0xa5a5_a5a5, 3]);
        b.copy_from(0, &b, 4, 4);
        assert_eq!(b.words(), [3, 3]);
        assert_eq!(Buffer::new(0).len(), 0);
    }
}
