//! The one error type of this crate.

use std::fmt;

/// What can go wrong between asking for an adapter and returning a proof.
///
/// After any error but [`Error::DeviceLost`] and [`Error::StaleSequence`] the device stays usable for the next proof.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No adapter matched. `searched` names the backends and the filter, `hint` what to install.
    #[error("no GPU adapter found (searched {searched}); {hint}")]
    NoAdapter { searched: String, hint: &'static str },
    /// The adapter lacks something that the prover cannot do without.
    #[error("adapter `{adapter}` cannot run the prover: {missing}")]
    UnsupportedAdapter { adapter: String, missing: String },
    /// An allocation would exceed the memory budget; nothing was submitted for it.
    #[error(
        "memory budget too small: {what} needs {} on top of {} in use, the budget is {}; at least {} are needed",
        Bytes(*requested), Bytes(*in_use), Bytes(*budget), Bytes(*in_use + *requested)
    )]
    OutOfBudget { what: String, requested: u64, in_use: u64, budget: u64 },
    /// The driver refused an allocation within the budget.
    #[error("device out of memory: {what} needs {}, {} in use", Bytes(*requested), Bytes(*in_use))]
    OutOfMemory { what: String, requested: u64, in_use: u64 },
    /// One buffer would exceed what a kernel can bind on this device.
    #[error("{what} needs one buffer of {}, but this device binds at most {}", Bytes(*requested), Bytes(*limit))]
    BufferTooLarge { what: String, requested: u64, limit: u64 },
    /// The device was lost (driver reset, unplugged, watchdog).
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// The driver reported success, but the last submission did not run to its end. The device counts as lost from then on.
    #[error("the GPU did not finish its work: submission {expected} expected, {found} seen")]
    StaleSequence { expected: u32, found: u32 },
    /// wgpu rejected a command or a shader; a bug in this crate or in the driver.
    #[error("GPU error in {context}: {message}")]
    Gpu { context: String, message: String },
    /// The transcript that the device kept differs from the host's replay of it.
    #[error("device transcript differs from the host's replay at word {position}")]
    TranscriptMismatch { position: usize },
    /// The proving context does not fit the proving key or the parameters.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The buses do not balance: the fractional sum of all interactions is not zero.
    #[error("interactions do not balance: the fractional sum over all buses is not zero")]
    UnbalancedInteractions,
    /// The proof that was made does not verify (only with `verify_before_return`).
    #[error("the proof does not verify: {0}")]
    ProofRejected(String),
    /// What failed in a step whose signature could not say so, such as a transport to the device.
    #[error(transparent)]
    Deferred(std::sync::Arc<Error>),
    /// A parameter combination outside of what this backend implements.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Result of everything that touches the device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
