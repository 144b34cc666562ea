//! Typed device buffers that return to the pool when the last handle goes.

use std::{marker::PhantomData, sync::Arc};

use super::{element::Element, memory::Allocation};

/// A device buffer without its element type, as bindings see it.
pub type RawBuffer = Arc<Allocation>;

/// `len` elements on the device. Clones share the memory.
///
/// Contents are undefined until something is written: the pool hands out used memory.
pub struct DeviceBuffer<T> {
    allocation: RawBuffer,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for DeviceBuffer<T> {
    fn clone(&self) -> Self {
        Self { allocation: self.allocation.clone(), len: self.len, element: PhantomData }
    }
}

impl<T: Element> DeviceBuffer<T> {
    /// `len` elements in memory that is large enough.
    pub(super) fn new(allocation: Allocation, len: usize) -> Self {
        Self { allocation: Arc::new(allocation), len, element: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        (self.len * T::WORDS * 4) as u64
    }

    /// The same memory seen as elements of another type.
    ///
    /// # Panics
    ///
    /// When the bytes do not divide into elements of `U`.
    pub fn cast<U: Element>(&self) -> DeviceBuffer<U> {
        let words = self.len * T::WORDS;
        assert_eq!(words % U::WORDS, 0, "cast leaves a partial element");
        DeviceBuffer { allocation: self.allocation.clone(), len: words / U::WORDS, element: PhantomData }
    }

    /// Whether both are the same memory.
    pub(crate) fn shares_memory(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.allocation, &other.allocation)
    }

    pub(super) fn raw(&self) -> &RawBuffer {
        &self.allocation
    }
}
