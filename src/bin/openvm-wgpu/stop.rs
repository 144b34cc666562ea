//! Ctrl-C: once to finish what is under way, twice to leave.

use std::{
    io::Write,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level,
};

use crate::failure::{Failure, Result};

/// What a process that a second Ctrl-C ended exits with, as shells have it.
const INTERRUPTED: i32 = 130;

/// Whether somebody has asked to stop.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on.
    #[allow(unsafe_code)]
    pub fn listen() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            let asked = stop.0.clone();
            let handler = move || {
                if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                    low_level::exit(INTERRUPTED);
                }
            };
            // SAFETY: the handler adds to an atomic and calls `_exit`, which handlers of signals may
            let registered = unsafe { low_level::register(signal, handler) };
            registered.map_err(|error| Failure::io("cannot listen for Ctrl-C", &error))?;
        }
        let asked = stop.clone();
        std::thread::spawn(move || {
            while !asked.is_asked() {
                std::thread::sleep(Duration::from_millis(50));
            }
            let line = "stopping: what is under way is finished and kept; Ctrl-C once more leaves at once";
            let _ = writeln!(std::io::stderr(), "{line}");
        });
        Ok(stop)
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}
