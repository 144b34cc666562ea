//! Typed device buffers that return to the pool when the last handle goes.

use std::{
    marker::PhantomData,
    sync::{Arc, Weak},
};

use super::{
    admission::AdmissionId,
    device::{MemoryAccounts, Shared},
    pool::{size_class, OverBudget, Reservation},
    Element, Gpu,
};
use crate::error::{Error, Result};

/// A buffer from the pool, without an element type.
pub struct Allocation {
    pub(super) buffer: wgpu::Buffer,
    /// What was asked for; the buffer may be larger.
    pub(super) bytes: u64,
    class: u64,
    /// What the memory is charged to.
    admission: Option<AdmissionId>,
    // weak, because the device keeps tables itself
    shared: Weak<Shared>,
}

impl Allocation {
    /// Whether it is memory of the device with these shared parts.
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        std::ptr::eq(self.shared.as_ptr(), Arc::as_ptr(shared))
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.memory.release(self.class, self.buffer.clone(), self.admission);
        }
    }
}

/// `len` elements on the device. Clones share the memory.
///
/// Contents are undefined until something is written: the pool hands out used memory.
pub struct DeviceBuffer<T> {
    allocation: Arc<Allocation>,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for DeviceBuffer<T> {
    fn clone(&self) -> Self {
        Self { allocation: self.allocation.clone(), len: self.len, element: PhantomData }
    }
}

impl<T: Element> DeviceBuffer<T> {
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

    pub(super) fn raw(&self) -> &Arc<Allocation> {
        &self.allocation
    }
}

impl Gpu {
    /// Allocates `len` elements; `what` names the buffer in errors.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooLarge`], [`Error::OutOfBudget`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn alloc<T: Element>(&self, len: usize, what: &str) -> Result<DeviceBuffer<T>> {
        self.shared.faults.check_lost()?;
        let bytes = (len * T::WORDS * 4) as u64;
        let limit = self.capabilities().max_buffer_bytes;
        if bytes > limit {
            return Err(Error::BufferTooLarge { what: what.into(), requested: bytes, limit });
        }
        let (buffer, class) = self.reserve(bytes.min(limit), what)?;
        Ok(DeviceBuffer {
            allocation: Arc::new(Allocation {
                buffer,
                bytes,
                class,
                admission: self.admission,
                shared: Arc::downgrade(&self.shared),
            }),
            len,
            element: PhantomData,
        })
    }

    fn reserve(&self, bytes: u64, what: &str) -> Result<(wgpu::Buffer, u64)> {
        let class = size_class(bytes);
        let reserve = |memory: &mut MemoryAccounts| {
            let reservation = memory.pool.reserve(bytes)?;
            memory.ledger.charge(self.admission, class);
            Ok(reservation)
        };
        let reservation = reserve(&mut self.memory()).map_err(|e: OverBudget| Error::OutOfBudget {
            what: what.into(),
            requested: e.requested,
            in_use: e.in_use,
            budget: e.budget,
        })?;
        match reservation {
            Reservation::Reused(buffer) => Ok((buffer, class)),
            Reservation::Create { bytes, evicted } => {
                self.destroy(&evicted);
                let size = bytes.min(self.capabilities().max_buffer_bytes);
                let created = self.create_buffer(size, what).or_else(|_| {
                    // what other classes hold may be what is missing
                    self.trim_memory();
                    self.create_buffer(size, what)
                });
                created.map(|buffer| (buffer, class)).inspect_err(|_| self.shared.memory.cancel(class, self.admission))
            }
        }
    }

    fn create_buffer(&self, size: u64, what: &str) -> Result<wgpu::Buffer> {
        let mut usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        usage.set(wgpu::BufferUsages::MAP_WRITE, self.capabilities().direct_upload());
        // the memory is the machine's where there is one
        let on_device = if self.shared.machine.is_some() { 4 } else { size };
        let descriptor =
            wgpu::BufferDescriptor { label: Some(what), size: on_device, usage, mapped_at_creation: false };
        let (held, in_use) = {
            let pool = &self.memory().pool;
            (pool.held(), pool.in_use())
        };
        if self.shared.device_memory.is_none_or(|limit| held <= limit) {
            let scope = self.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let buffer = self.device().create_buffer(&descriptor);
            if pollster::block_on(scope.pop()).is_none() {
                self.shared.machine.iter().for_each(|machine| machine.create(&buffer, size));
                return Ok(buffer);
            }
        }
        Err(Error::OutOfMemory { what: what.into(), requested: size, in_use: in_use - size.min(in_use) })
    }

    /// Gives buffers back to the driver.
    pub(super) fn destroy(&self, buffers: &[wgpu::Buffer]) {
        for buffer in buffers {
            self.shared.machine.iter().for_each(|machine| machine.destroy(buffer));
            buffer.destroy();
        }
    }
}
