//! Who has been promised how much memory: plain logic under the pool's lock, tested without a GPU.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    thread::ThreadId,
};

/// Names an admission; no two of a process are the same, so one device's means nothing to another.
pub(super) type AdmissionId = u64;

/// A new name.
pub(super) fn next_id() -> AdmissionId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Who has been promised what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Admissions that have begun.
    begun: BTreeMap<AdmissionId, Account>,
    /// Those that wait, first come first, with their bytes.
    queue: VecDeque<(AdmissionId, u64)>,
    /// Threads that wait for memory without being in the queue.
    pub uploads: usize,
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
    pub(super) fn enqueue(&mut self, id: AdmissionId, bytes: u64) {
        self.queue.push_back((id, bytes));
    }

    /// Begins `id` if it is the first of the queue and fits, or is alone.
    pub(super) fn begin(&mut self, id: AdmissionId, owner: ThreadId, in_use: u64, budget: u64) -> bool {
        let Some(&(first, promised)) = self.queue.front() else { return false };
        let taken = self.others(in_use).saturating_add(self.promised());
        if first != id || !(self.is_idle() || taken.saturating_add(promised) <= budget) {
            return false;
        }
        self.queue.pop_front();
        self.begin_now(id, promised, owner);
        true
    }

    /// Whether no admission has begun.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.is_empty()
    }

    /// Gives the room of an admission back.
    pub(super) fn end(&mut self, id: AdmissionId) {
        self.begun.remove(&id);
    }

    /// Whether an admission has begun and not ended.
    pub(super) fn is_begun(&self, id: AdmissionId) -> bool {
        self.begun.contains_key(&id)
    }

    /// Begins at once, whatever was promised.
    pub(super) fn begin_now(&mut self, id: AdmissionId, promised: u64, owner: ThreadId) {
        self.begun.insert(id, Account { promised, used: 0, owner });
    }

    /// Whether a thread has an admission, so that to wait might be to wait for itself.
    pub(super) fn holds(&self, owner: ThreadId) -> bool {
        self.begun.values().any(|account| account.owner == owner)
    }

    /// Begins an upload if it takes nothing that was promised, the first of the queue included, or if nothing will end that frees memory
    /// without `owner` having to go on.
    pub(super) fn begin_upload(
        &mut self,
        (id, promised): (AdmissionId, u64),
        owner: ThreadId,
        in_use: u64,
        budget: u64,
    ) -> bool {
        let first = self.queue.front().map_or(0, |(_, promised)| *promised);
        let taken = self.others(in_use).saturating_add(self.promised()).saturating_add(first);
        let busy = !self.queue.is_empty() || !self.is_idle();
        if busy && !self.holds(owner) && taken.saturating_add(promised) > budget {
            return false;
        }
        self.begin_now(id, promised, owner);
        true
    }

    /// Charges memory to an admission; none is charged when it has ended.
    pub(super) fn charge(&mut self, id: Option<AdmissionId>, bytes: u64) {
        if let Some(account) = id.and_then(|id| self.begun.get_mut(&id)) {
            account.used += bytes;
        }
    }

    /// The reverse of [`Ledger::charge`].
    pub(super) fn discharge(&mut self, id: Option<AdmissionId>, bytes: u64) {
        if let Some(account) = id.and_then(|id| self.begun.get_mut(&id)) {
            account.used -= bytes;
        }
    }

    /// Bytes that an admission has been promised and does not use; `None` when it has ended.
    pub(super) fn left(&self, id: AdmissionId) -> Option<u64> {
        self.begun.get(&id).map(|account| account.promised.saturating_sub(account.used))
    }

    /// Admissions and uploads that had to wait.
    pub(super) fn waited(&self) -> u64 {
        self.waited
    }

    /// Counts who begins to wait, once.
    pub(super) fn count_wait(&mut self, counted: &mut bool) {
        self.waited += u64::from(!std::mem::replace(counted, true));
    }

    /// Counts anew.
    pub(super) fn reset_waited(&mut self) {
        self.waited = 0;
    }

    /// How many have begun or wait.
    pub(super) fn admissions(&self) -> usize {
        self.begun.len() + self.queue.len()
    }

    /// Whether somebody waits.
    pub(super) fn has_waiters(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

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
}
