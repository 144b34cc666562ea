//! Device memory: the pool, who has been promised what of it, and the allocations that return to it.

use std::sync::{
    atomic::{AtomicU64, Ordering},
    Arc, Condvar, Mutex, MutexGuard, Weak,
};

use super::{
    executor::{Executor, MemoryId},
    ledger::{AdmissionId, Ledger},
    pool::{size_class, OverBudget, Pool, Reservation},
};
use crate::error::{Error, Result};

/// Memory from the pool, without an element type. It returns to the pool when the last handle goes.
pub struct Allocation {
    pub(super) memory: MemoryId,
    /// What was asked for; the memory may be larger.
    pub(super) bytes: u64,
    class: u64,
    /// What the memory is charged to.
    admission: Option<AdmissionId>,
    // weak, because the device keeps tables itself
    home: Weak<DeviceMemory>,
}

impl Allocation {
    /// Whether it is part of this device's memory.
    pub(super) fn is_of(&self, home: &Arc<DeviceMemory>) -> bool {
        std::ptr::eq(self.home.as_ptr(), Arc::as_ptr(home))
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.release(self.class, self.memory, self.admission);
        }
    }
}

/// How much memory there is, bytes.
pub(super) struct Limits {
    /// The most that may be in use.
    pub budget: u64,
    /// The largest buffer.
    pub buffer: u64,
    /// For tests: where the driver says no.
    pub device: Option<u64>,
    /// The first number of memory, beyond those of other devices on the same executor, which only tests have.
    pub first: MemoryId,
}

/// The memory of a device.
pub(super) struct DeviceMemory {
    accounts: Mutex<Accounts>,
    /// Memory was released or an admission has ended, and somebody waits.
    changed: Condvar,
    executor: Arc<dyn Executor>,
    limits: Limits,
    next: AtomicU64,
}

pub(super) struct Accounts {
    pub pool: Pool<MemoryId>,
    pub ledger: Ledger,
}

pub(super) type MemoryGuard<'a> = MutexGuard<'a, Accounts>;

impl DeviceMemory {
    pub(super) fn new(executor: Arc<dyn Executor>, limits: Limits) -> Self {
        let accounts = Accounts { pool: Pool::new(limits.budget), ledger: Ledger::default() };
        let next = AtomicU64::new(limits.first);
        Self { accounts: Mutex::new(accounts), changed: Condvar::new(), executor, limits, next }
    }

    pub(super) fn lock(&self) -> MemoryGuard<'_> {
        self.accounts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sleeps until [`DeviceMemory::wake`].
    pub(super) fn wait<'a>(&'a self, guard: MemoryGuard<'a>) -> MemoryGuard<'a> {
        self.changed.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn wake(&self, memory: &MemoryGuard<'_>) {
        if memory.ledger.has_waiters() {
            self.changed.notify_all();
        }
    }

    /// Memory of `bytes` bytes, charged to `admission`; `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooLarge`], [`Error::OutOfBudget`], [`Error::OutOfMemory`].
    pub(super) fn alloc(
        self: &Arc<Self>,
        bytes: u64,
        what: &str,
        admission: Option<AdmissionId>,
    ) -> Result<Allocation> {
        let limit = self.limits.buffer;
        if bytes > limit {
            return Err(Error::BufferTooLarge { what: what.into(), requested: bytes, limit });
        }
        let (class, home) = (size_class(bytes), Arc::downgrade(self));
        let memory = self.reserve(bytes, what, admission)?;
        Ok(Allocation { memory, bytes, class, admission, home })
    }

    /// What may be in use beside other proofs, bytes: the budget, or less where other programs have taken of the device's memory.
    pub(super) fn room(&self, memory: &MemoryGuard<'_>) -> u64 {
        let available = self.executor.available_memory().into_iter().chain(self.limits.device);
        available.fold(memory.pool.budget(), u64::min)
    }

    /// Gives all free memory back to the driver.
    pub(super) fn trim(&self) {
        let free = self.lock().pool.trim();
        free.into_iter().for_each(|memory| self.executor.destroy(memory));
    }

    fn reserve(&self, bytes: u64, what: &str, admission: Option<AdmissionId>) -> Result<MemoryId> {
        let class = size_class(bytes);
        let reserve = |memory: &mut Accounts| {
            let reservation = memory.pool.reserve(bytes)?;
            memory.ledger.charge(admission, class);
            Ok(reservation)
        };
        let reservation = reserve(&mut self.lock()).map_err(|e: OverBudget| Error::OutOfBudget {
            what: what.into(),
            requested: e.requested,
            in_use: e.in_use,
            budget: e.budget,
        })?;
        match reservation {
            Reservation::Reused(memory) => Ok(memory),
            Reservation::Create { bytes, evicted } => {
                evicted.into_iter().for_each(|memory| self.executor.destroy(memory));
                let size = bytes.min(self.limits.buffer);
                let created = self.create(size, what).or_else(|_| {
                    // what other classes hold may be what is missing
                    self.executor.trim();
                    self.trim();
                    self.create(size, what)
                });
                created.inspect_err(|_| self.cancel(class, admission))
            }
        }
    }

    fn create(&self, size: u64, what: &str) -> Result<MemoryId> {
        let (held, in_use) = {
            let pool = &self.lock().pool;
            (pool.held(), pool.in_use())
        };
        let memory = self.next.fetch_add(1, Ordering::Relaxed);
        if self.limits.device.is_none_or(|limit| held <= limit) && self.executor.create(memory, size, what) {
            return Ok(memory);
        }
        Err(Error::OutOfMemory { what: what.into(), requested: size, in_use: in_use - size.min(in_use) })
    }

    /// Gives memory back and tells who waits for it.
    fn release(&self, class: u64, memory: MemoryId, admission: Option<AdmissionId>) {
        let mut accounts = self.lock();
        accounts.pool.release(class, memory);
        accounts.ledger.discharge(admission, class);
        self.wake(&accounts);
    }

    /// Undoes a reservation whose memory could not be created.
    fn cancel(&self, class: u64, admission: Option<AdmissionId>) {
        let mut accounts = self.lock();
        accounts.pool.cancel(class);
        accounts.ledger.discharge(admission, class);
        self.wake(&accounts);
    }
}
