//! What went wrong, in one line, and whose fault it was.

use std::{fmt, io};

use openvm_circuit::arch::{ExecutionError, VirtualMachineError};
use openvm_sdk::SdkError;
use openvm_wgpu_backend::{openvm::ProveError, Error};

/// Whose fault it was: the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A proof could not be made of what was there, or was rejected.
    Rejected = 1,
    /// Options, or a file that is missing, is something else or cannot be written.
    Usage = 2,
    /// The guest or its input.
    Guest = 3,
    /// The device or its driver.
    Device = 4,
    /// It stopped as asked; the same command goes on.
    Stopped = 5,
    /// A bug.
    Internal = 70,
}

/// A line for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    message: String,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: one_line(&message.to_string()) }
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn rejected(message: impl fmt::Display) -> Self {
        Self::new(Kind::Rejected, message)
    }

    /// An error of reading or writing a file.
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::usage(format!("{doing}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Line breaks and what indents the lines become single blanks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, advice) = match &error {
            Error::NoAdapter { .. } | Error::UnsupportedAdapter { .. } => {
                (Kind::Device, "; `openvm-wgpu doctor` says what is there and what is missing")
            }
            Error::OutOfBudget { .. } | Error::OutOfMemory { .. } | Error::BufferTooLarge { .. } => {
                (Kind::Device, "; give a larger --memory-budget or a smaller --segment-max-memory")
            }
            Error::DeviceLost(_) | Error::StaleSequence { .. } => {
                (Kind::Device, "; run the same command again: it goes on with what is proved")
            }
            Error::Environment { .. } => (Kind::Usage, ""),
            Error::InvalidInput(_) | Error::Unsupported(_) | Error::UnbalancedInteractions => (Kind::Rejected, ""),
            Error::Deferred(error) => return Self::new(kind_of(error), error),
            _ => (Kind::Device, ""),
        };
        Self::new(kind, format!("{error}{advice}"))
    }
}

fn kind_of(error: &Error) -> Kind {
    match error {
        Error::InvalidInput(_) | Error::Unsupported(_) | Error::UnbalancedInteractions => Kind::Rejected,
        _ => Kind::Device,
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Vm(error) => error.into(),
            ProveError::Sdk(error) => error.into(),
            ProveError::Device(error) => error.into(),
            ProveError::Segment { segment, error } => {
                let failure = Self::from(error);
                Self { message: format!("segment {segment}: {}", failure.message), ..failure }
            }
            stopped @ (ProveError::Stopped { .. } | ProveError::StoppedAggregation) => {
                Self::new(Kind::Stopped, format!("{stopped}; run the same command again: it goes on from there"))
            }
            none @ ProveError::NoDevice(_) => Self::new(Kind::Device, none),
            other => Self::new(Kind::Internal, other),
        }
    }
}

impl From<VirtualMachineError> for Failure {
    fn from(error: VirtualMachineError) -> Self {
        let advice = match &error {
            VirtualMachineError::Execution(ExecutionError::FailedWithExitCode(_)) => {
                "; the guest panicked or ended itself: check its --input"
            }
            VirtualMachineError::Execution(_) => "; check the guest and its --input",
            VirtualMachineError::StaticProgram(_) | VirtualMachineError::ExecutorInventory(_) => {
                "; the VM of openvm.toml lacks an extension that the guest uses: add it and run keygen"
            }
            _ => return Self::new(Kind::Internal, error),
        };
        Self::new(Kind::Guest, format!("the guest failed: {error}{advice}"))
    }
}

impl From<SdkError> for Failure {
    fn from(error: SdkError) -> Self {
        match error {
            SdkError::Vm(error) => error.into(),
            SdkError::VerifyStark(error) => Self::rejected(format!("the proof is rejected: {error}")),
            SdkError::Transpiler(error) => {
                let lacks = "the guest has instructions that the VM of openvm.toml lacks";
                Self::new(Kind::Guest, format!("{lacks}: {error}; add their extension to it and run keygen again"))
            }
            SdkError::Other(error) => Self::new(Kind::Guest, format!("{error:#}")),
            other => Self::new(Kind::Internal, other),
        }
    }
}

impl From<eyre::Report> for Failure {
    fn from(error: eyre::Report) -> Self {
        let error = match error.downcast::<ProveError>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        match error.downcast::<Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(Kind::Internal, format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_one_line() {
        let failure = Failure::usage("reading from x failed:\n    no such file");
        assert_eq!(failure.to_string(), "reading from x failed: no such file");
    }

    #[test]
    fn causes_decide_the_exit_code() {
        let guest = ProveError::Vm(VirtualMachineError::Execution(ExecutionError::FailedWithExitCode(1)));
        assert_eq!(Failure::from(guest).kind, Kind::Guest);
        let device = ProveError::Segment { segment: 3, error: Error::DeviceLost("gone".into()) };
        let failure = Failure::from(eyre::Report::from(device));
        assert_eq!(failure.kind, Kind::Device);
        assert!(failure.to_string().starts_with("segment 3: "), "{failure}");
        assert_eq!(Failure::from(ProveError::StoppedAggregation).kind, Kind::Stopped);
    }
}
