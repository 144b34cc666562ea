//! Processes that fork, and processes that end while threads prove.
//!
//! A child of `fork` has the parent's memory but none of its threads: neither the driver's nor ours, so whoever waits for one waits for
//! ever. What was opened before is refused there.
//!
//! A process that ends (`main` returns, `exit`) runs the exit handlers of its libraries while its other threads go on. A driver that is
//! compiling or submitting on one of them then reads what its own handlers have freed: now and then that is a SIGSEGV at the very end
//! (wgpu #8365 is near). So threads pass through a gate on their way into the driver, and a handler of ours, which runs before those of
//! libraries that were loaded earlier, closes it: it waits until nobody is inside, and who comes later sleeps until the process is gone.
//! What is left is the opening of devices, which does not pass the gate: of drivers that are being loaded, some handlers come before ours.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// The process that opened a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner(u32);

impl Default for Owner {
    /// This process.
    fn default() -> Self {
        Self(std::process::id())
    }
}

impl Owner {
    /// # Errors
    ///
    /// [`Error::Forked`] in a child of the process.
    pub(super) fn check(self) -> Result<()> {
        let process = std::process::id();
        match self.0 == process {
            true => Ok(()),
            false => Err(Error::Forked { opened_by: self.0, process }),
        }
    }
}

/// Threads in the driver.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// The process ends.
static CLOSED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// How often this thread is in the driver: calls may nest.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How long the end of the process waits for threads in the driver. The longest that is known of is one kernel's compilation.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thread's stay in the driver; not to be moved to another one.
pub(super) struct Inside(PhantomData<*const ()>);

/// Lets a thread into the driver; never returns once the process ends.
pub(super) fn enter() -> Inside {
    if DEPTH.get() == 0 {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if CLOSED.load(Ordering::SeqCst) {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    Inside(PhantomData)
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Has the gate closed when the process ends. Handlers run in the reverse order of their registration, and drivers register some as late as
/// at their first compilations, so this does it anew after the first, second, fourth, .. of its calls.
#[cfg(unix)]
pub(super) fn close_at_exit() {
    use std::{ffi::c_int, sync::atomic::AtomicU32};

    extern "C" {
        fn atexit(handler: extern "C" fn()) -> c_int;
    }

    static PROCESS: AtomicU32 = AtomicU32::new(0);
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn handler() {
        // a child of `fork` has no threads to wait for
        if PROCESS.load(Ordering::Relaxed) == std::process::id() {
            close(PATIENCE);
        }
    }

    PROCESS.store(std::process::id(), Ordering::Relaxed);
    if CALLS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two() {
        // SAFETY: the handler takes nothing, does not unwind, and is never unloaded before the process ends.
        // where there is no room for one more handler, the end is what it was without
        let _ = unsafe { atexit(handler) };
    }
}

/// Windows ends all other threads before it detaches libraries.
#[cfg(not(unix))]
pub(super) fn close_at_exit() {}

/// Whether the process ends: threads that are inside will not get back.
pub(super) fn is_ending() -> bool {
    CLOSED.load(Ordering::SeqCst)
}

/// Closes the gate and waits until nobody is inside, but this thread itself.
#[cfg(unix)]
fn close(patience: Duration) {
    CLOSED.store(true, Ordering::SeqCst);
    let own = usize::from(DEPTH.try_with(Cell::get).unwrap_or(0) > 0);
    let start = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > own && start.elapsed() < patience {
        thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_belong_to_the_process_that_opened_them() {
        assert!(Owner::default().check().is_ok());
        let error = Owner(std::process::id() + 1).check().unwrap_err().to_string();
        assert!(error.contains("fork"), "{error}");
    }

    #[test]
    fn stays_nest() {
        assert_eq!(DEPTH.get(), 0);
        let outer = enter();
        drop(enter());
        assert_eq!(DEPTH.get(), 1);
        drop(outer);
        assert_eq!(DEPTH.get(), 0);
    }
}
