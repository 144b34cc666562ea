//! Lookups that a thread counts for itself.
//!
//! A row of a curve's chip looks 400 values up, most of which are counted at the same few places: threads that share counts wait for each
//! other's cache lines.

use std::sync::{
    atomic::{AtomicU32, Ordering::Relaxed},
    Arc, Mutex, MutexGuard, PoisonError,
};

use openvm_circuit::{
    primitives::{
        bitwise_op_lookup::{BitwiseOperationLookupChip, SharedBitwiseOperationLookupChip},
        var_range::{SharedVariableRangeCheckerChip, VariableRangeCheckerBus, VariableRangeCheckerChip},
    },
    system::memory::SharedMemoryHelper,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use rayon::prelude::*;

/// The lookup tables of a machine.
#[derive(Clone)]
pub(super) struct Lookups {
    pub ranges: SharedVariableRangeCheckerChip,
    pub bitwise: SharedBitwiseOperationLookupChip<8>,
    pub timestamp_bits: usize,
}

/// Tables of the same sizes, which one thread has.
pub(super) struct OwnCounts {
    pub ranges: SharedVariableRangeCheckerChip,
    pub bitwise: SharedBitwiseOperationLookupChip<8>,
    /// Counts in `ranges`.
    pub memory: SharedMemoryHelper<F>,
    bus: VariableRangeCheckerBus,
    timestamp_bits: usize,
}

/// Counts that nobody uses; all are 0. Their memory is a megabyte and a half each, which takes longer to provide than to go through.
static FREE: Mutex<Vec<OwnCounts>> = Mutex::new(vec![]);

impl OwnCounts {
    fn new(lookups: &Lookups) -> Self {
        let (bus, timestamp_bits) = (lookups.ranges.bus(), lookups.timestamp_bits);
        let ranges = Arc::new(VariableRangeCheckerChip::new(bus));
        let bitwise = Arc::new(BitwiseOperationLookupChip::new(lookups.bitwise.bus()));
        let memory = SharedMemoryHelper::new(ranges.clone(), timestamp_bits);
        Self { ranges, bitwise, memory, bus, timestamp_bits }
    }

    /// Counts a value of so many bits.
    #[inline(always)]
    pub(super) fn add(&self, value: i32, bits: usize) {
        let count = &self.ranges.count[(1usize << bits) - 1 + value as usize];
        // nobody else counts here
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Hands all over.
    fn move_to(&self, lookups: &Lookups) {
        let pairs = [
            (&self.ranges.count, &lookups.ranges.count),
            (&self.bitwise.count_range, &lookups.bitwise.count_range),
            (&self.bitwise.count_xor, &lookups.bitwise.count_xor),
        ];
        for (own, all) in pairs {
            for (own, all) in own.iter().zip(all) {
                let count = own.load(Relaxed);
                if count > 0 {
                    own.store(0, Relaxed);
                    add(all, count);
                }
            }
        }
    }
}

fn add(sum: &AtomicU32, count: u32) {
    sum.fetch_add(count, Relaxed);
}

/// Counts for work that several threads share.
pub(super) struct Shared<'a> {
    lookups: &'a Lookups,
    used: Mutex<Vec<OwnCounts>>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(lookups: &'a Lookups) -> Self {
        Self { lookups, used: Mutex::default() }
    }

    /// Does a part of the work.
    pub(super) fn with(&self, work: impl FnOnce(&OwnCounts)) {
        let used = lock(&self.used).pop();
        let counts = used.or_else(|| self.free()).unwrap_or_else(|| OwnCounts::new(self.lookups));
        work(&counts);
        lock(&self.used).push(counts);
    }

    fn free(&self) -> Option<OwnCounts> {
        let (bus, timestamp_bits) = (self.lookups.ranges.bus(), self.lookups.timestamp_bits);
        let mut free = lock(&FREE);
        let fits = |counts: &OwnCounts| counts.bus == bus && counts.timestamp_bits == timestamp_bits;
        let place = free.iter().position(fits)?;
        Some(free.swap_remove(place))
    }

    /// Adds all to the machine's tables.
    pub(super) fn finish(self) {
        let used = self.used.into_inner().unwrap_or_else(PoisonError::into_inner);
        used.par_iter().for_each(|counts| counts.move_to(self.lookups));
        lock(&FREE).extend(used);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
