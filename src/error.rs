//! The one error type of this crate, with its causes.

use std::{any::Any, fmt, sync::Arc};

/// What can go wrong between asking for an adapter and returning a proof. Sizes are in bytes.
///
/// After any error but [`Error::DeviceLost`] and [`Error::StaleSequence`] the device stays usable for the next proof. The text of an
/// error includes that of its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter matched.
    #[error("no GPU adapter found (searched {searched}); {hint}")]
    NoAdapter {
        /// The backends, and the filter by name.
        searched: String,
        /// What to install or to set.
        hint: &'static str,
    },
    /// An environment variable has a value that is not understood.
    #[error("the environment variable {variable} is `{value}`, expected {expected}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What it is set to.
        value: String,
        /// What would be understood.
        expected: String,
    },
    /// The adapter lacks something that the prover cannot do without.
    #[error("adapter `{adapter}` cannot run the prover: {missing}")]
    UnsupportedAdapter {
        /// Its name.
        adapter: String,
        /// What it has and what is needed.
        missing: String,
    },
    /// An allocation would exceed the memory budget; nothing was submitted for it.
    #[error(
        "memory budget too small: {what} needs {} on top of {} in use, the budget is {}; at least {} are needed",
        Bytes(*requested), Bytes(*in_use), Bytes(*budget), Bytes(*in_use + *requested)
    )]
    OutOfBudget {
        /// What was to be allocated.
        what: String,
        /// Its size.
        requested: u64,
        /// What is allocated beside it.
        in_use: u64,
        /// The budget.
        budget: u64,
    },
    /// The driver refused an allocation within the budget.
    #[error("device out of memory: {what} needs {}, {} in use", Bytes(*requested), Bytes(*in_use))]
    OutOfMemory {
        /// What was to be allocated.
        what: String,
        /// Its size.
        requested: u64,
        /// What is allocated beside it.
        in_use: u64,
    },
    /// One buffer would exceed what a kernel can bind on this device.
    #[error("{what} needs one buffer of {}, but this device binds at most {}", Bytes(*requested), Bytes(*limit))]
    BufferTooLarge {
        /// What was to be allocated.
        what: String,
        /// Its size.
        requested: u64,
        /// The largest binding.
        limit: u64,
    },
    /// The device was lost (driver reset, unplugged, watchdog).
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// The device was opened before a `fork`, by the parent, whose threads the child has not.
    #[error(
        "the GPU device was opened by process {opened_by}, and this is {process}: a child of fork cannot use it; fork before anything is \
         opened, or run the prover in a program of its own"
    )]
    Forked {
        /// The parent.
        opened_by: u32,
        /// The child.
        process: u32,
    },
    /// The driver reported success, but the last submission did not run to its end. The device counts as lost from then on.
    #[error("the GPU did not finish its work: submission {expected} expected, {found} seen")]
    StaleSequence {
        /// Number of the submission that was waited for.
        expected: u32,
        /// Number of the last one that ran.
        found: u32,
    },
    /// wgpu rejected a command or a shader; a bug in this crate or in the driver.
    #[error("GPU error in {context}: {}", with_causes(source.as_ref()))]
    Gpu {
        /// The stage, the kernel or the transfer.
        context: String,
        /// What wgpu or the driver reported.
        source: Fault,
    },
    /// The transcript that the device kept differs from the host's replay of it.
    #[error("device transcript differs from the host's replay at word {position}")]
    TranscriptMismatch {
        /// The first word that differs.
        position: usize,
    },
    /// The proving context does not fit the proving key or the parameters.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The buses do not balance: the fractional sum of all interactions is not zero.
    #[error("interactions do not balance: the fractional sum over all buses is not zero")]
    UnbalancedInteractions,
    /// The proof that was made does not verify (only with `verify_before_return`).
    #[error("the proof does not verify: {}", with_causes(.0.as_ref()))]
    ProofRejected(#[source] Fault),
    /// What failed in a step whose signature could not say so, such as a transport to the device.
    #[error(transparent)]
    Deferred(Arc<Error>),
    /// A parameter combination outside of what this backend implements.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// What the device reported; several recordings may fail for one cause.
pub type Fault = Arc<dyn std::error::Error + Send + Sync>;

/// A cause, from an error or from a text.
pub(crate) fn fault(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Arc::from(cause.into())
}

impl Error {
    /// What the device reported in `context`.
    pub(crate) fn gpu(context: &str, source: Fault) -> Self {
        Self::Gpu { context: context.into(), source }
    }
}

/// Result of everything that touches the device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error's text with the causes that it does not name itself, which callers who print an error would lose.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

/// A byte count printed with a binary unit.
pub(crate) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// What a panic says, if that is text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied())
}

/// Runs code that panics on some input.
///
/// # Errors
///
/// The panic's text.
#[cfg(feature = "openvm")]
pub(crate) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    let text = |panic: Box<dyn Any + Send>| panic_text(&*panic).unwrap_or("a panic without text").to_owned();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(text)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn causes_are_kept() {
        let cause = fault(std::io::Error::other("the driver says no"));
        let error = Error::gpu("opening", cause);
        assert_eq!(error.to_string(), "GPU error in opening: the driver says no");
        let source = error.source().expect("a cause");
        assert!(source.to_string() == "the driver says no", "{source}");
        let deferred = Error::Deferred(Arc::new(error));
        assert!(deferred.source().is_some_and(|source| source.to_string() == "the driver says no"));
    }
}
