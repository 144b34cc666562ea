//! Several proofs at once: who may begin, so that all that have begun fit the memory budget.
//!
//! A proof allocates as it goes, so two that begin at once can both run out of memory half way. Instead each announces what it will hold
//! at most and begins when that fits beside what the others have announced. The bookkeeping ([`Ledger`]) is plain logic under the pool's
//! lock, tested without a GPU; nobody spins: releases of memory and ends of admissions wake whoever waits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    thread::{self, ThreadId},
};

use super::{
    device::{DeviceMemory, MemoryGuard},
    Gpu,
};

/// Names an admission; no two of a process are the same, so one device's means nothing to another.
pub(super) type AdmissionId = u64;

/// Room in a device's memory budget, from [`Gpu::admit`]; dropping it gives the room back.
///
/// Memory that is allocated through [`Gpu::under`] is charged to it. What is still alive when the admission ends, traces for example,
/// counts as memory that belongs to nobody from then on.
#[must_use = "the room is given back when this is dropped"]
pub struct Admission {
    gpu: Gpu,
    id: AdmissionId,
    bytes: u64,
}

/// Who has been promised what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Admissions that have begun.
    begun: BTreeMap<AdmissionId, Account>,
    /// Those that wait, first come first, with their bytes.
    queue: VecDeque<(AdmissionId, u64)>,
    /// Threads that wait for memory without being in the queue.
    uploads: usize,
    /// Admissions and uploads that had to wait.
    waited: u64,
}

#[derive(Debug)]
struct Account {
    promised: u64,
    used: u64,
    owner: ThreadId,
}

impl Account {
    /// Who takes more than was promised is counted for what he takes.
    fn bytes(&self) -> u64 {
        self.promised.max(self.used)
    }
}

impl Ledger {
    /// Joins the queue.
    pub fn enqueue(&mut self, id: AdmissionId, bytes: u64) {
        self.queue.push_back((id, bytes));
    }

    /// Begins `id` if it is the first of the queue and fits, or is alone.
    pub fn begin(&mut self, id: AdmissionId, owner: ThreadId, in_use: u64, budget: u64) -> bool {
        let Some(&(first, promised)) = self.queue.front() else { return false };
        let taken = self.others(in_use).saturating_add(self.promised());
        if first != id || !(self.begun.is_empty() || taken.saturating_add(promised) <= budget) {
            return false;
        }
        self.queue.pop_front();
        self.begin_now(id, promised, owner);
        true
    }

    /// Gives the room of an admission back.
    pub fn end(&mut self, id: AdmissionId) {
        self.begun.remove(&id);
    }

    /// Whether an admission has begun and not ended.
    pub fn is_begun(&self, id: AdmissionId) -> bool {
        self.begun.contains_key(&id)
    }

    /// Begins at once, whatever was promised.
    pub fn begin_now(&mut self, id: AdmissionId, promised: u64, owner: ThreadId) {
        self.begun.insert(id, Account { promised, used: 0, owner });
    }

    /// Whether a thread has an admission, so that to wait might be to wait for itself.
    pub fn holds(&self, owner: ThreadId) -> bool {
        self.begun.values().any(|account| account.owner == owner)
    }

    /// Begins an upload if it takes nothing that was promised, the first of the queue included, or if nothing will end that frees memory
    /// without `owner` having to go on.
    pub fn begin_upload(
        &mut self,
        (id, promised): (AdmissionId, u64),
        owner: ThreadId,
        in_use: u64,
        budget: u64,
    ) -> bool {
        let first = self.queue.front().map_or(0, |(_, promised)| *promised);
        let taken = self.others(in_use).saturating_add(self.promised()).saturating_add(first);
        let busy = !self.queue.is_empty() || !self.begun.is_empty();
        if busy && !self.holds(owner) && taken.saturating_add(promised) > budget {
            return false;
        }
        self.begin_now(id, promised, owner);
        true
    }

    /// Charges memory to an admission; none is charged when it has ended.
    pub fn charge(&mut self, id: Option<AdmissionId>, bytes: u64) {
        if let Some(account) = id.and_then(|id| self.begun.get_mut(&id)) {
            account.used += bytes;
        }
    }

    /// The reverse of [`Ledger::charge`].
    pub fn discharge(&mut self, id: Option<AdmissionId>, bytes: u64) {
        if let Some(account) = id.and_then(|id| self.begun.get_mut(&id)) {
            account.used -= bytes;
        }
    }

    /// Bytes that an admission has been promised and does not use; `None` when it has ended.
    pub fn left(&self, id: AdmissionId) -> Option<u64> {
        self.begun.get(&id).map(|account| account.promised.saturating_sub(account.used))
    }

    /// Admissions and uploads that had to wait.
    pub fn waited(&self) -> u64 {
        self.waited
    }

    /// Counts who begins to wait, once.
    fn count_wait(&mut self, counted: &mut bool) {
        self.waited += u64::from(!std::mem::replace(counted, true));
    }

    /// Counts anew.
    pub fn reset_waited(&mut self) {
        self.waited = 0;
    }

    /// Whether somebody waits.
    fn has_waiters(&self) -> bool {
        !self.queue.is_empty() || self.uploads > 0
    }

    /// Bytes in use that no admission accounts for: proving keys, cached programs, traces that were uploaded before their proof's
    /// admission.
    fn others(&self, in_use: u64) -> u64 {
        in_use - self.begun.values().map(|account| account.used).sum::<u64>()
    }

    fn promised(&self) -> u64 {
        self.begun.values().fold(0, |sum, account| sum.saturating_add(account.bytes()))
    }
}

fn next_id() -> AdmissionId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl DeviceMemory {
    /// Gives a buffer back and tells who waits for memory.
    pub(super) fn release(&self, class: u64, buffer: wgpu::Buffer, admission: Option<AdmissionId>) {
        let mut memory = self.lock();
        memory.pool.release(class, buffer);
        memory.ledger.discharge(admission, class);
        self.wake(&memory);
    }

    /// Undoes a reservation whose buffer could not be created.
    pub(super) fn cancel(&self, class: u64, admission: Option<AdmissionId>) {
        let mut memory = self.lock();
        memory.pool.cancel(class);
        memory.ledger.discharge(admission, class);
        self.wake(&memory);
    }

    fn wake(&self, memory: &MemoryGuard<'_>) {
        if memory.ledger.has_waiters() {
            self.changed.notify_all();
        }
    }
}

impl Gpu {
    /// Waits until `bytes` fit the memory budget beside what other admissions were promised and what is in use outside of all
    /// admissions (proving keys, traces that were uploaded before).
    ///
    /// First come, first served. One that is alone begins at once, even if it is larger than the budget: then its allocations say what
    /// does not fit. A thread that waits here must hold nothing that others need to end: neither an admission that this one would wait for,
    /// nor a worker of a thread pool on which other proofs depend (rayon's workers take up new work while
    /// they wait for parts of old).
    pub fn admit(&self, bytes: u64) -> Admission {
        let (id, owner) = (next_id(), thread::current().id());
        let shared = &self.shared.memory;
        let mut memory = shared.lock();
        memory.ledger.enqueue(id, bytes);
        let mut waited = false;
        loop {
            let (in_use, budget) = (memory.pool.in_use(), memory.pool.budget());
            if memory.ledger.begin(id, owner, in_use, budget) {
                break;
            }
            memory.ledger.count_wait(&mut waited);
            memory = shared.wait(memory);
        }
        // the next one may fit, too
        shared.wake(&memory);
        Admission { gpu: self.clone(), id, bytes }
    }

    /// The admission of a proof: none of its own on a device that is under one, and no wait for a thread that has another one.
    pub(crate) fn admit_proof(&self, bytes: u64) -> Option<Admission> {
        if self.is_admitted() {
            return None;
        }
        let (id, owner) = (next_id(), thread::current().id());
        let mut memory = self.memory();
        if !memory.ledger.holds(owner) {
            drop(memory);
            return Some(self.admit(bytes));
        }
        memory.ledger.begin_now(id, bytes, owner);
        Some(Admission { gpu: self.clone(), id, bytes })
    }

    /// This device, with what is allocated through it charged to `admission`.
    ///
    /// An admission of another device charges nothing here.
    pub fn under(&self, admission: &Admission) -> Self {
        Self { shared: self.shared.clone(), admission: Some(admission.id) }
    }

    /// This device, with what is allocated through it charged to nobody: what outlives a proof.
    pub(super) fn outside(&self) -> Self {
        Self { shared: self.shared.clone(), admission: None }
    }

    /// Whether allocations are charged to an admission that has not ended.
    pub fn is_admitted(&self) -> bool {
        self.admission.is_some_and(|id| self.shared.memory.lock().ledger.is_begun(id))
    }

    /// An admission for an upload of `bytes`, which ends with it and leaves the memory to nobody: none of its own for a device that is
    /// under an admission.
    ///
    /// Waits while the upload would take what others were promised, the first in the queue included, but not when nothing runs that will
    /// free memory.
    pub(super) fn admit_upload(&self, bytes: u64) -> Option<Admission> {
        if self.is_admitted() {
            return None;
        }
        let (id, owner) = (next_id(), thread::current().id());
        let shared = &self.shared.memory;
        let mut memory = shared.lock();
        let mut waited = false;
        loop {
            let (in_use, budget) = (memory.pool.in_use(), memory.pool.budget());
            if memory.ledger.begin_upload((id, bytes), owner, in_use, budget) {
                break;
            }
            memory.ledger.count_wait(&mut waited);
            memory.ledger.uploads += 1;
            memory = shared.wait(memory);
            memory.ledger.uploads -= 1;
        }
        Some(Admission { gpu: self.clone(), id, bytes })
    }

    /// Bytes that were in use at once before and are not now, at most what is left of the admission: memory for what need not be kept.
    pub fn idle_bytes(&self) -> u64 {
        let memory = self.memory();
        let idle = memory.pool.peak() - memory.pool.in_use();
        self.admission.and_then(|id| memory.ledger.left(id)).map_or(idle, |left| idle.min(left))
    }
}

impl Admission {
    /// The bytes that were asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let memory = &self.gpu.shared.memory;
        let mut guard = memory.lock();
        guard.ledger.end(self.id);
        memory.wake(&guard);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::gpu::{size_class, DeviceMatrix, GpuOptions};

    const BUDGET: u64 = 100;

    fn thread() -> ThreadId {
        thread::current().id()
    }

    fn other_thread() -> ThreadId {
        thread::spawn(thread).join().expect("no panic")
    }

    fn begin(ledger: &mut Ledger, id: AdmissionId, in_use: u64) -> bool {
        ledger.begin(id, thread(), in_use, BUDGET)
    }

    #[test]
    fn first_come_first_served() {
        let mut ledger = Ledger::default();
        for (id, bytes) in [(1, 60), (2, 50), (3, 10)] {
            ledger.enqueue(id, bytes);
        }
        assert!(!begin(&mut ledger, 2, 0), "not its turn");
        assert!(begin(&mut ledger, 1, 0));
        assert!(!begin(&mut ledger, 2, 0), "does not fit");
        assert!(!begin(&mut ledger, 3, 0), "would fit, but is behind one that waits");
        ledger.end(1);
        assert!(begin(&mut ledger, 2, 0) && begin(&mut ledger, 3, 0));
        assert!(!ledger.has_waiters());
    }

    #[test]
    fn who_is_alone_begins() {
        let mut ledger = Ledger::default();
        ledger.enqueue(1, u64::MAX);
        ledger.enqueue(2, 0);
        assert!(begin(&mut ledger, 1, BUDGET));
        assert!(!begin(&mut ledger, 2, BUDGET));
        ledger.end(1);
        assert!(begin(&mut ledger, 2, BUDGET));
    }

    #[test]
    fn memory_of_nobody_is_taken() {
        let mut ledger = Ledger::default();
        ledger.enqueue(1, 60);
        assert!(begin(&mut ledger, 1, 30));
        // 20 of 60 are used, so of 50 in use 30 are others'
        ledger.charge(Some(1), 20);
        assert_eq!(ledger.left(1), Some(40));
        ledger.enqueue(2, 11);
        assert!(!begin(&mut ledger, 2, 50));
        assert!(begin(&mut ledger, 2, 49));
        // who takes more than promised is counted for it
        ledger.charge(Some(1), 50);
        assert_eq!(ledger.left(1), Some(0));
        ledger.enqueue(3, 1);
        assert!(!begin(&mut ledger, 3, 70 + 19));
        ledger.end(2);
        assert!(begin(&mut ledger, 3, 70 + 29));
        // what outlives its admission is others'
        ledger.end(1);
        assert_eq!(ledger.others(70 + 29), 99);
        ledger.discharge(Some(1), 70);
        assert_eq!(ledger.left(1), None);
    }

    #[test]
    fn uploads_take_nothing_that_was_promised() {
        let (mut ledger, owner, other) = (Ledger::default(), thread(), other_thread());
        let upload = |ledger: &mut Ledger, id, bytes, owner| ledger.begin_upload((id, bytes), owner, 0, BUDGET);
        assert!(upload(&mut ledger, 1, 200, owner), "nothing runs that would free memory");
        ledger.end(1);
        ledger.enqueue(2, 60);
        assert!(begin(&mut ledger, 2, 0));
        assert!(upload(&mut ledger, 3, 40, other));
        assert!(!upload(&mut ledger, 4, 1, other_thread()), "2 and 3 take everything");
        ledger.end(3);
        assert!(upload(&mut ledger, 5, 200, owner), "the thread would wait for itself");
        ledger.end(5);
        ledger.enqueue(6, 50);
        assert!(!upload(&mut ledger, 7, 1, other), "6 is promised the rest");
        ledger.end(2);
        assert!(begin(&mut ledger, 6, 0) && upload(&mut ledger, 7, 50, other));
        ledger.enqueue(8, 1);
        assert!(upload(&mut ledger, 9, 1, owner), "8 waits for the thread that would wait for 8");
    }

    /// Megabytes, so that the submission counter does not matter.
    const MIB: u64 = 1 << 20;

    fn open(budget: u64) -> Gpu {
        Gpu::new(&GpuOptions { memory_budget: Some(budget), ..GpuOptions::default() }).expect("the test device opens")
    }

    /// Sleeps until `waits` have begun.
    fn until_waits(gpu: &Gpu, waits: u64) {
        while gpu.metrics().memory_waits < waits {
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn threads_begin_in_the_order_of_their_coming() {
        let gpu = open(10 * MIB);
        let first = gpu.admit(6 * MIB);
        let (sender, begun) = mpsc::channel();
        thread::scope(|scope| {
            for (thread, bytes) in [(1, 9), (2, 1), (3, 12)] {
                let (gpu, sender) = (&gpu, sender.clone());
                scope.spawn(move || {
                    let admission = gpu.admit(bytes * MIB);
                    sender.send(thread).expect("somebody listens");
                    drop(admission);
                });
                until_waits(gpu, thread);
            }
            assert!(begun.try_recv().is_err());
            drop(first);
        });
        let mut order: Vec<_> = begun.try_iter().collect();
        // the first two fit together
        order[..2].sort();
        assert_eq!(order, [1, 2, 3]);
        assert_eq!(gpu.metrics().memory_waits, 3);
    }

    #[test]
    fn buffers_are_charged_to_their_admission() {
        let gpu = open(10 * MIB);
        let key = gpu.alloc::<u32>(1 << 18, "key").expect("fits");
        let admission = gpu.admit(8 * MIB);
        let under = gpu.under(&admission);
        assert!(under.is_admitted() && !gpu.is_admitted());
        let trace = under.alloc::<u32>(1 << 19, "trace").expect("fits");
        let left = |gpu: &Gpu| gpu.memory().ledger.left(admission.id);
        assert_eq!(left(&gpu), Some(6 * MIB));
        let error = under.alloc::<u32>(1 << 22, "too large").map(|_| ()).expect_err("over budget").to_string();
        assert!(error.contains("too large needs 16.0 MiB on top of 3.0 MiB"), "{error}");
        assert_eq!(left(&gpu), Some(6 * MIB));
        drop(trace);
        assert_eq!(left(&gpu), Some(8 * MIB));
        let trace = under.alloc::<u32>(1 << 19, "trace").expect("fits");
        drop(admission);
        assert!(!under.is_admitted());
        assert_eq!(gpu.metrics().bytes_in_use, 3 * MIB);
        drop((key, trace));
        assert_eq!(gpu.metrics().bytes_in_use, 0);
    }

    #[test]
    fn uploads_wait_for_admissions() {
        let gpu = open(10 * MIB);
        let upload = |gpu: &Gpu, mib: u64| {
            let values = vec![7u32; (mib << 18) as usize];
            DeviceMatrix::upload(gpu, &values, values.len(), 1, "trace")
        };
        let admission = gpu.admit(size_class(8 * MIB));
        thread::scope(|scope| {
            let waits = scope.spawn(|| upload(&gpu, 4).map(|_| ()));
            until_waits(&gpu, 1);
            // what is promised does not wait, nor does what fits beside it
            let trace = upload(&gpu.under(&admission), 8).expect("promised");
            assert!(!waits.is_finished());
            drop(upload(&gpu, 1).expect("spare"));
            drop((trace, admission));
            waits.join().expect("no panic").expect("fits now");
        });
        // nothing runs that could free memory
        let error = upload(&gpu, 12).map(|_| ()).expect_err("over budget").to_string();
        assert!(error.contains("trace needs 12.0 MiB"), "{error}");
    }
}
