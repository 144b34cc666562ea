//! Errors that the device reports aside from return values.

use std::sync::{Mutex, MutexGuard};

use super::process::Owner;
use crate::error::{Error, Fault, Result};

/// Errors that wgpu reports aside from return values.
///
/// Such an error does not say whose work it came from, so with several threads at work it fails everything that was under way: each
/// asks for the errors since its own beginning.
#[derive(Default)]
pub(super) struct Faults {
    owner: Owner,
    /// How many errors there were, and the last one.
    errors: Mutex<(u64, Option<Fault>)>,
    lost: Mutex<Option<String>>,
}

impl Faults {
    /// # Errors
    ///
    /// [`Error::Forked`] in a child of the process that opened the device.
    pub(super) fn check_process(&self) -> Result<()> {
        self.owner.check()
    }

    pub(super) fn record(&self, error: Fault) {
        let mut errors = self.errors();
        *errors = (errors.0 + 1, Some(error));
    }

    pub(super) fn record_lost(&self, reason: String) {
        self.lost.lock().expect("no panic while held").get_or_insert(reason);
    }

    /// A lost device stays lost, and one of another process is none.
    pub(super) fn check_lost(&self) -> Result<()> {
        // before the lock, which a thread of the parent may have held
        self.check_process()?;
        let reason = self.lost.lock().expect("no panic while held").clone();
        reason.map_or(Ok(()), |reason| Err(Error::DeviceLost(reason)))
    }

    /// How many errors there were so far.
    pub(super) fn count(&self) -> u64 {
        self.errors().0
    }

    /// That the device is lost, or an error since the count was `since`.
    pub(super) fn check(&self, context: &str, since: u64) -> Result<()> {
        self.check_lost()?;
        match &*self.errors() {
            (count, Some(error)) if *count != since => Err(Error::gpu(context, error.clone())),
            _ => Ok(()),
        }
    }

    fn errors(&self) -> MutexGuard<'_, (u64, Option<Fault>)> {
        self.errors.lock().expect("no panic while held")
    }
}
