//! Several proofs at once: who may begin, so that all that have begun fit the memory budget.
//!
//! A proof allocates as it goes, so two that begin at once can both run out of memory half way. Instead each announces what it will hold
//! at most and begins when that fits beside what the others have announced. The bookkeeping is the ledger's (`ledger.rs`); nobody spins:
//! releases of memory and ends of admissions wake whoever waits.

use std::thread;

use super::{
    device::Gpu,
    keep_warm::KeepWarm,
    ledger::{next_id, AdmissionId},
};

/// Room in a device's memory budget, from [`Gpu::admit`]; dropping it gives the room back.
///
/// Memory that is allocated through [`Gpu::under`] is charged to it. What is still alive when the admission ends, traces for example,
/// counts as memory that belongs to nobody from then on. Who takes one by [`Gpu::admit`] announces a proof, so the device is kept warm
/// ([`Gpu::keep_warm`]).
#[must_use = "the room is given back when this is dropped"]
pub struct Admission {
    gpu: Gpu,
    id: AdmissionId,
    bytes: u64,
    _warm: Option<KeepWarm>,
}

impl Gpu {
    /// Waits until `bytes` fit the memory budget beside what other admissions were promised and what is in use outside of all
    /// admissions (proving keys, traces that were uploaded before).
    ///
    /// First come, first served. What other programs have taken of a discrete card's memory is no room, where the driver tells. One that is alone begins at once, even if it is larger than the budget: then its allocations say what
    /// does not fit. A thread that waits here must hold nothing that others need to end: neither an admission that this one would wait for,
    /// nor a worker of a thread pool on which other proofs depend (rayon's workers take up new work while
    /// they wait for parts of old).
    pub fn admit(&self, bytes: u64) -> Admission {
        let mut admission = self.admit_cold(bytes);
        admission._warm = Some(self.keep_warm());
        admission
    }

    fn admit_cold(&self, bytes: u64) -> Admission {
        let (id, owner) = (next_id(), thread::current().id());
        let shared = &self.shared.memory;
        let mut memory = shared.lock();
        memory.ledger.enqueue(id, bytes);
        let mut waited = false;
        loop {
            let in_use = memory.pool.in_use();
            // one that is alone begins in any case, so nobody is asked
            let room = if memory.ledger.is_idle() { memory.pool.budget() } else { shared.room(&memory) };
            if memory.ledger.begin(id, owner, in_use, room) {
                break;
            }
            memory.ledger.count_wait(&mut waited);
            memory = shared.wait(memory);
        }
        // the next one may fit, too
        shared.wake(&memory);
        Admission { gpu: self.clone(), id, bytes, _warm: None }
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
            return Some(self.admit_cold(bytes));
        }
        memory.ledger.begin_now(id, bytes, owner);
        Some(Admission { gpu: self.clone(), id, bytes, _warm: None })
    }

    /// This device, with what is allocated through it charged to `admission`.
    ///
    /// An admission of another device charges nothing here.
    pub fn under(&self, admission: &Admission) -> Self {
        self.charging(Some(admission.id))
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
        Some(Admission { gpu: self.clone(), id, bytes, _warm: None })
    }

    /// How many admissions have begun or wait: none where nothing runs.
    #[doc(hidden)]
    pub fn admissions(&self) -> usize {
        self.memory().ledger.admissions()
    }

    /// Bytes that were in use at once before and are not now, at most what is left of the admission: memory for what need not be kept.
    #[doc(hidden)]
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

    /// Megabytes, so that the submission counter does not matter.
    const MIB: u64 = 1 << 20;

    fn open(budget: u64) -> Gpu {
        // what keeps a card warm has a buffer of its own
        let options = GpuOptions { memory_budget: Some(budget), keep_warm: Some(false), ..GpuOptions::default() };
        Gpu::new(&options).expect("the test device opens")
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
    fn what_other_programs_have_taken_is_no_room() {
        let device_memory = Some(6 * MIB);
        let options = GpuOptions {
            memory_budget: Some(10 * MIB),
            device_memory,
            keep_warm: Some(false),
            ..GpuOptions::default()
        };
        let gpu = Gpu::new(&options).expect("the test device opens");
        let first = gpu.admit(4 * MIB);
        let beside = gpu.admit(2 * MIB);
        thread::scope(|scope| {
            let waits = scope.spawn(|| gpu.admit(4 * MIB));
            until_waits(&gpu, 1);
            drop(beside);
            assert!(!waits.is_finished());
            drop(first);
            drop(waits.join().expect("no panic"));
        });
        // alone, the allocations say what does not fit
        drop(gpu.admit(9 * MIB));
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
