//! Whether a device is to be kept warm, and who wants it to be; `keep_warm.rs` does it.

use std::{
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Condvar, Mutex, MutexGuard,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::environment;
use crate::error::Result;

/// Environment variable that decides where no option does: `0` is off, `1` on.
pub(super) const VARIABLE: &str = "OPENVM_WGPU_KEEP_WARM";

/// How long bursts go on without a proof.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The part of a device that keeps it warm.
#[derive(Default)]
pub(super) struct Warm {
    enabled: bool,
    /// Threads that wait for the device.
    waiting: AtomicUsize,
    state: Mutex<WarmState>,
}

/// Who wants the device warm, and the thread that keeps it so.
#[derive(Default)]
pub(super) struct WarmState {
    pub(super) guards: usize,
    pub(super) thread: Option<(Arc<Orders>, JoinHandle<()>)>,
}

/// What the thread is told.
pub(super) struct Orders {
    /// Until when it may work without a proof; `None`: end.
    until: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Orders {
    pub(super) fn new() -> Self {
        Self { until: Mutex::new(Some(Instant::now() + LIMIT)), changed: Condvar::new() }
    }

    pub(super) fn give(&self, until: Option<Instant>) {
        *self.lock() = until;
        self.changed.notify_all();
    }

    pub(super) fn until(&self) -> Option<Instant> {
        *self.lock()
    }

    /// Sleeps for a while, or until there is a new order.
    pub(super) fn sleep(&self, most: Duration) {
        let until = self.lock();
        if until.is_some() {
            drop(self.changed.wait_timeout(until, most));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(|p| p.into_inner())
    }
}

impl Warm {
    /// As the option says, else the variable [`VARIABLE`], else as is best for a device of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`](crate::error::Error::Environment) for another value than `0` and `1`.
    pub(super) fn new(option: Option<bool>, kind: &str) -> Result<Self> {
        let best = || kind == "discrete" && !discharging(Path::new("/sys/class/power_supply"));
        let enabled = match (option, environment::variable(VARIABLE)?.as_deref()) {
            (Some(enabled), _) => enabled,
            (None, None) => best(),
            (None, Some("0")) => false,
            (None, Some("1")) => true,
            (None, Some(value)) => return Err(environment::invalid(VARIABLE, value, "0 or 1".into())),
        };
        Ok(Self { enabled, ..Self::default() })
    }

    /// Whether the device is to be kept warm at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether a thread waits for the device.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Somebody waits for the device until the result is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WarmState> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }
}

/// Somebody waits for the device while this lives.
#[must_use]
pub(super) struct Waiting<'a>(&'a Warm);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a battery of the computer, rather than one of a mouse, is being discharged.
fn discharging(supplies: &Path) -> bool {
    let is = |supply: &Path, file: &str, value: &str| {
        std::fs::read_to_string(supply.join(file)).is_ok_and(|found| found.trim() == value)
    };
    let supplies = std::fs::read_dir(supplies).into_iter().flatten().flatten().map(|entry| entry.path());
    supplies.into_iter().any(|supply| {
        is(&supply, "type", "Battery") && is(&supply, "status", "Discharging") && !is(&supply, "scope", "Device")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batteries_are_found() {
        let directory = std::env::temp_dir().join(format!("openvm-wgpu-supplies-{}", std::process::id()));
        let supply = |name: &str, files: &[(&str, &str)]| {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|(file, text)| std::fs::write(path.join(file), format!("{text}\n")).unwrap());
        };
        assert!(!discharging(&directory));
        supply("AC", &[("type", "Mains"), ("online", "1")]);
        supply("mouse", &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")]);
        supply("BAT0", &[("type", "Battery"), ("status", "Charging")]);
        assert!(!discharging(&directory));
        supply("BAT0", &[("status", "Discharging")]);
        assert!(discharging(&directory));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
